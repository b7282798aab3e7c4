from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from fst.errors import FstError
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network, parse_vgg

from .conftest import vgg_state

# torchvision numbers its layers; these are ReLUs of VGG-16 and VGG-19
VGG16_RELUS = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22, "relu5_3": 29}
VGG19_RELUS = {"relu1_1": 1, "relu2_1": 6, "relu3_4": 17, "relu4_2": 22, "relu5_1": 29}


def load(path: Path, **options: object) -> LossNetwork:
    return load_loss_network(name="file", file=path, **options)  # type: ignore[arg-type]


def save(path: Path, state: dict[str, torch.Tensor], **metadata: str) -> Path:
    metadata = {"mean": "0,0,0", "std": "1,1,1"} | metadata
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata)
    return path


@pytest.mark.parametrize(
    ("build", "relus"),
    [(torchvision.models.vgg16, VGG16_RELUS), (torchvision.models.vgg19, VGG19_RELUS)],
)
def test_features_by_name_are_torchvisions(build: object, relus: dict[str, int]) -> None:
    torch.manual_seed(0)
    model = build(weights=None).features.eval()  # type: ignore[operator]
    network = LossNetwork(
        convolutions=parse_vgg({f"features.{k}": v for k, v in model.state_dict().items()}, "x"),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        padding_mode="zeros",
        description="vgg",
    )
    image = torch.rand(1, 3, 32, 48)
    x = (image - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.4, 0.5, 0.6]).view(
        3, 1, 1
    )
    features = network(image, relus)
    with torch.no_grad():
        for number, layer in enumerate(model):
            x = layer(x)
            for name, at in relus.items():
                if at == number:
                    torch.testing.assert_close(features[name], x, rtol=1e-4, atol=1e-6)


def test_it_computes_no_further_than_the_deepest_layer_asked_for(tiny_vgg: Path) -> None:
    network = load(tiny_vgg)
    for name in network.layers:
        if name > "relu2_1":
            network.get_buffer(f"{name}_weight").fill_(float("nan"))
    image = torch.rand(1, 3, 8, 8)  # too small for a fourth block after the third
    features = network(image, ["relu1_1", "relu2_1"])
    assert set(features) == {"relu1_1", "relu2_1"}
    assert all(torch.isfinite(f).all() for f in features.values())


def test_it_holds_no_gradient_and_nothing_of_it_enters_a_checkpoint(tiny_vgg: Path) -> None:
    network = load(tiny_vgg)
    assert list(network.parameters()) == []
    assert network.state_dict() == {}
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    network(image, ["relu2_2"])["relu2_2"].square().mean().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_mean_std_and_padding_come_from_metadata_or_from_the_arguments(tmp_path: Path) -> None:
    path = save(
        tmp_path / "n.safetensors",
        vgg_state([[2]]),
        mean="0.1,0.2,0.3",
        std="0.5,0.5,0.5",
        padding_mode="reflect",
    )
    network = load(path)
    assert network.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert network.padding_mode == "reflect"
    other = load(path, mean=[0, 0, 0], std=[1, 1, 1], padding_mode="zeros")
    assert other.mean.flatten().tolist() == [0, 0, 0]
    assert other.padding_mode == "zeros"
    constant = torch.full((1, 3, 6, 6), 0.9)
    assert network(constant, ["relu1_1"])["relu1_1"].std(dim=(2, 3)).max() < 1e-6  # no border
    assert other(constant, ["relu1_1"])["relu1_1"].std(dim=(2, 3)).max() > 1e-3


def test_a_pth_file_with_a_classifier_is_read_and_the_classifier_ignored(tmp_path: Path) -> None:
    state = vgg_state([[2, 3], [4]])
    state["classifier.0.weight"] = torch.full((2, 2), float("nan"))
    torch.save(state, tmp_path / "n.pth")
    network = load(tmp_path / "n.pth", mean=[0, 0, 0], std=[1, 1, 1])
    assert network.layers == ["relu1_1", "relu1_2", "relu2_1"]


class TestBadInputGetsOneSentence:
    def expect(self, path: Path, match: str, **options: object) -> None:
        with pytest.raises(FstError, match=match) as caught:
            load(path, **options)
        assert "\n" not in str(caught.value)

    def test_missing_file(self, tmp_path: Path) -> None:
        self.expect(tmp_path / "no.pth", r"no\.pth does not exist; check loss_network\.file")

    def test_text_for_a_network(self, tmp_path: Path) -> None:
        for name in ("n.pth", "n.safetensors"):
            (tmp_path / name).write_text("hello")
            self.expect(tmp_path / name, "cannot be read")

    def test_code_in_a_pickle_is_not_run(self, tmp_path: Path) -> None:
        import pickle

        class Evil:
            def __reduce__(self) -> tuple[object, ...]:
                return (Path.touch, (tmp_path / "pwned",))

        (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
        self.expect(tmp_path / "evil.pth", "cannot be read")
        assert not (tmp_path / "pwned").exists()

    def test_another_architecture(self, tmp_path: Path) -> None:
        state = {"layer1.weight": torch.zeros(1)}
        self.expect(save(tmp_path / "n.safetensors", state), "not a VGG-shaped network")

    def test_shapes_that_do_not_fit(self, tmp_path: Path) -> None:
        state = vgg_state([[4, 4]])
        state["features.2.weight"] = torch.zeros(4, 5, 3, 3)
        self.expect(
            save(tmp_path / "n.safetensors", state), r"shape \(4, 5, 3, 3\), expected \(any, 4"
        )

    def test_batch_norm(self, tmp_path: Path) -> None:
        torch.save(torchvision.models.vgg11_bn(weights=None).state_dict(), tmp_path / "bn.pth")
        self.expect(tmp_path / "bn.pth", "batch-norm", mean=[0, 0, 0], std=[1, 1, 1])

    def test_nan(self, tmp_path: Path) -> None:
        state = vgg_state([[4, 4]])
        state["features.2.weight"][0, 0, 0, 0] = float("nan")
        self.expect(save(tmp_path / "n.safetensors", state), r"features\.2 holds NaN")

    def test_no_mean_anywhere(self, tmp_path: Path) -> None:
        torch.save(vgg_state([[2]]), tmp_path / "n.pth")
        self.expect(tmp_path / "n.pth", r"give them as loss_network\.mean")

    def test_a_layer_beyond_its_depth(self, tiny_vgg: Path) -> None:
        with pytest.raises(FstError, match=r"'relu5_1' is not in .*tiny_vgg.* \.\. relu4_3"):
            load(tiny_vgg)(torch.rand(1, 3, 16, 16), ["relu5_1"])

    def test_no_network_for_the_download(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        for variable in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens there
        with pytest.raises(FstError, match=r"could not be downloaded.*loss_network\.file=FILE"):
            load_loss_network(name="vgg16", weights="IMAGENET1K_FEATURES")

    def test_unknown_weights(self) -> None:
        with pytest.raises(FstError, match=r"known are lite, vgg16 IMAGENET1K_FEATURES"):
            load_loss_network(name="vgg16", weights="NONE")
