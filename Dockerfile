# fst as a command: docker build -t fst . && docker run --rm -v "$PWD:/photos" fst stylize photo.jpg --style great_wave
# scripts/proofs/dockerfile_steps.py runs these steps without Docker
FROM python:3.11-slim
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
