# fst as a command: docker build -t fst . && docker run --rm -v "$PWD:/photos" fst stylize photo.jpg --style great_wave
# without PyTorch: docker build --target light -t fst-light .
# scripts/proofs/dockerfile_steps.py runs these steps without Docker

FROM python:3.11-slim AS light
ARG LIGHT=light.txt
WORKDIR /fst
COPY pyproject.toml light.txt light-openvino.txt README.md LICENSE ./
COPY fst ./fst/
COPY configs ./configs/
COPY checkpoints ./checkpoints/
RUN python -m pip install --disable-pip-version-check --no-cache-dir -r "$LIGHT"
RUN python -m pip install --disable-pip-version-check --no-cache-dir --no-deps .
# by number, as nothing needs a name or a home; docker run -u "$(id -u):$(id -g)" is another
USER 1000:1000
RUN cd / && fst list
WORKDIR /photos
ENTRYPOINT ["fst"]
CMD ["--help"]

FROM python:3.11-slim AS full
WORKDIR /fst
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY fst ./fst/
COPY configs ./configs/
COPY checkpoints ./checkpoints/
RUN python -m pip install --disable-pip-version-check -c constraints.txt '.[openvino]'
RUN cd / && fst list
WORKDIR /photos
ENTRYPOINT ["fst"]
CMD ["--help"]
