"""Distilling a loss network, on tiny ones."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from fst.cli import main
from fst.distillation.module import Distillation, disturb, loss_gradient
from fst.distillation.student import Student, Teacher, TeacherPart, level, rescale
from fst.errors import FstError
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network, parse_vgg, save_loss_network, vgg_state
from fst.loss.perceptual_loss import PerceptualLoss, gram_matrix

WIDTHS = [[3, 4], [5], [6, 6]]


def make_student() -> Student:
    torch.manual_seed(0)
    return Student(widths=WIDTHS)


def test_a_saved_student_is_the_same_loss_network(tmp_path: Path) -> None:
    student = make_student()
    student(torch.rand(4, 3, 20, 24), student.layers)  # moves the running statistics
    student.eval()
    image = torch.rand(1, 3, 20, 24)
    before = student(image, student.layers)
    student.fold()  # takes the batch normalization into the convolutions
    for name, features in student(image, student.layers).items():
        torch.testing.assert_close(features, before[name], rtol=1e-4, atol=1e-5)
    save_loss_network(tmp_path / "s.safetensors", student, half=False, teacher="none")
    loaded = load_loss_network(name="file", file=tmp_path / "s.safetensors")
    assert loaded.layers == student.layers == [
        "relu1_1", "relu1_2", "relu2_1", "relu3_1", "relu3_2",
    ]  # fmt: skip
    for name in student.layers:
        torch.testing.assert_close(loaded(image, [name])[name], student(image, [name])[name])


def test_vgg_state_is_read_back_by_parse_vgg() -> None:
    student = make_student()
    convolutions = parse_vgg(vgg_state(student), "x")
    assert [block for block, _, _ in convolutions] == [1, 1, 2, 3, 3]
    for name, (_, weight, _) in zip(student.layers, convolutions, strict=True):
        assert torch.equal(weight, getattr(student, f"{name}_weight"))


def test_rescaling_multiplies_the_named_layers_and_no_other() -> None:
    student = make_student().eval()
    student.fold()
    image = torch.rand(1, 3, 16, 16)
    before = student(image, student.layers)
    rescale(student, {"relu1_2": 10.0, "relu3_1": 0.5})
    after = student(image, student.layers)
    for name, factor in {"relu1_1": 1, "relu1_2": 10, "relu2_1": 1, "relu3_1": 0.5}.items():
        torch.testing.assert_close(after[name], factor * before[name])


def test_a_teachers_layers_come_from_several_networks_and_heads_at_size_1(tiny_vgg: Path) -> None:
    network = load_loss_network(name="file", file=tiny_vgg)
    head = (torch.randn(7, 8, 1, 1), torch.zeros(7))
    teacher = Teacher(
        [
            TeacherPart(network, {"relu1_2": "relu1_2"}, {}, 1.0),
            TeacherPart(network, {"relu3_2": "relu3_1"}, {"relu3_2": head}, 50.0),
        ]
    )
    images = torch.rand(4, 3, 32, 32)
    teacher.calibrate(images)
    features = teacher(images)
    assert features["relu3_2"].shape == (4, 7, 8, 8)
    for values in features.values():
        assert values.square().mean().item() == pytest.approx(1, rel=1e-4)
        assert values.min() >= 0


def test_the_gradient_is_that_of_the_perceptual_loss(tiny_vgg: Path) -> None:
    network = load_loss_network(name="file", file=tiny_vgg)
    layers, content_layers = {"relu1_2": 0.7, "relu2_2": 2.0}, {"relu2_1": 0.5}
    style, image = torch.rand(1, 3, 24, 24), torch.rand(1, 3, 20, 20, requires_grad=True)
    content = torch.rand(1, 3, 20, 20)
    loss = PerceptualLoss(
        network=network,
        style_image=style,
        content_layers=content_layers,
        style_layers=layers,
        content_weight=1,
        style_weight=1,
        tv_weight=0,
        relative=True,
    )
    (expected,) = torch.autograd.grad(loss(image, content).total, image)
    grams = {name: gram_matrix(f) for name, f in network(style, layers).items()}
    features = network(image, [*layers, *content_layers])
    contents = network(content, content_layers)
    got = loss_gradient(image, features, grams, contents, layers, content_layers)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("relative", [False, True])
def test_a_leveled_student_has_terms_of_the_teachers_mean_size(
    tiny_vgg: Path, relative: bool
) -> None:
    network = load_loss_network(name="file", file=tiny_vgg)
    teacher = Teacher([TeacherPart(network, {"relu2_1": "relu2_1"}, {}, 1.0)])
    images = torch.rand(4, 3, 32, 32) * torch.rand(4, 3, 1, 1)
    teacher.calibrate(images)
    student = make_student().eval()
    student.fold()
    student.factors = level(student, teacher, [images])

    def mean_terms(stand_in: LossNetwork) -> list[float]:
        logs = []
        for one, other in itertools.permutations(images.split(1), 2):
            loss = PerceptualLoss(
                network=stand_in,
                style_image=one,
                content_layers={"relu2_1": 1},
                style_layers={"relu2_1": 1},
                content_weight=1,
                style_weight=1,
                tv_weight=0,
                relative=relative,
            )
            with torch.no_grad():
                terms = loss(other, one)
            logs.append(torch.stack([terms.content, terms.style]).log())
        return torch.stack(logs).mean(0).exp().tolist()

    assert mean_terms(student) == pytest.approx(mean_terms(network), rel=1e-3)


def test_factors_are_stored_and_used(tmp_path: Path) -> None:
    student = make_student().eval()
    student.fold()
    factors = {"style": {"relu2_1": 3.0}, "relative_style": {"relu2_1": 5.0}}
    student.factors = factors
    save_loss_network(tmp_path / "s.safetensors", student, half=False)
    loaded = load_loss_network(name="file", file=tmp_path / "s.safetensors")
    assert loaded.factors == factors
    style, image = torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 24)

    def style_loss(network: LossNetwork, relative: bool) -> float:
        loss = PerceptualLoss(
            network=network,
            style_image=style,
            content_layers={},
            style_layers={"relu2_1": 1},
            content_weight=0,
            style_weight=1,
            tv_weight=0,
            relative=relative,
        )
        return loss(image, image).style.item()

    student.factors = {}
    assert style_loss(loaded, False) == pytest.approx(3 * style_loss(student, False))
    assert style_loss(loaded, True) == pytest.approx(5 * style_loss(student, True))


def test_a_student_that_resumes_starts_as_the_network_it_resumes(tmp_path: Path) -> None:
    first = make_student().eval()
    first.fold()
    second = Student(widths=WIDTHS, on_from=first)
    image = torch.rand(2, 3, 20, 20)
    second.settle(image)
    second.eval()
    torch.testing.assert_close(second(image, ["relu3_2"]), first(image, ["relu3_2"]))
    assert all(parameter.requires_grad for parameter in second.parameters())
    with pytest.raises(FstError, match="other layers"):
        Student(widths=[[3, 4], [5]], on_from=first)


def test_a_wider_student_keeps_the_channels_it_starts_from() -> None:
    first = make_student().eval()
    first.fold()
    wider = Student(widths=[[3, 4], [9], [8, 2]], on_from=first).eval()
    image = torch.rand(2, 3, 20, 20)
    wider.settle(image)
    new, old = (network(image, ["relu2_1", "relu3_2"]) for network in (wider, first))
    torch.testing.assert_close(new["relu2_1"][:, :5], old["relu2_1"])
    torch.testing.assert_close(new["relu3_2"], old["relu3_2"][:, :2])
    assert new["relu2_1"].shape[1] == 9
    assert (new["relu2_1"][:, 5:].std(dim=(0, 2, 3)) > 0).any()


def test_maps_solved_by_least_squares_leave_no_error_where_there_is_none(tiny_vgg: Path) -> None:
    network = load_loss_network(name="file", file=tiny_vgg)
    teacher = Teacher([TeacherPart(network, {"relu2_1": "relu2_1"}, {}, 1.0)])
    student = Student(widths=[[4, 4], [6, 6], [8, 8, 8], [8, 8, 8]], on_from=network)
    module = Distillation(
        student=student, teacher=teacher, learning_rate=1e-3, weights={"features": 1}
    )
    images = torch.rand(4, 3, 32, 32)
    student.settle(images)
    student.eval()
    module.solve_maps([images[:2], images[2:]])
    assert module.gradient_cosine(images).item() == pytest.approx(1, abs=0.1)
    mapped = module.maps["relu2_1"](student(images, ["relu2_1"])["relu2_1"])
    wanted = teacher(images)["relu2_1"]
    assert (mapped - wanted).square().mean() < 1e-3 * wanted.var()


def test_roots_give_the_losses_of_the_mapped_features(tiny_vgg: Path, tmp_path: Path) -> None:
    network = load_loss_network(name="file", file=tiny_vgg)
    teacher = Teacher([TeacherPart(network, {"relu2_1": "relu2_1"}, {}, 1.0)])
    student = make_student().eval()
    student.fold()
    module = Distillation(
        student=student, teacher=teacher, learning_rate=1e-3, weights={"features": 1}
    )
    one, other = torch.rand(2, 3, 32, 32).split(1)
    with torch.no_grad():
        mapped = [module.maps["relu2_1"](student(x, ["relu2_1"])["relu2_1"]) for x in (one, other)]
    student.set_roots(module.roots())
    save_loss_network(tmp_path / "s.safetensors", student, half=False)
    loaded = load_loss_network(name="file", file=tmp_path / "s.safetensors")
    slim = [loaded(x, ["relu2_1"])["relu2_1"] for x in (one, other)]
    ratio = mapped[0].shape[1] / slim[0].shape[1]
    content = [(a - b).square().mean().item() for a, b in (slim, mapped)]
    assert content[0] == pytest.approx(content[1] * ratio, rel=1e-3)
    grams = [[gram_matrix(f) for f in pair] for pair in (slim, mapped)]
    style = [(a - b).square().mean().item() for a, b in grams]
    assert style[0] == pytest.approx(style[1] * ratio**4, rel=1e-3)


def test_a_root_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    student = make_student().eval()
    with pytest.raises(FstError, match=r"relu2_1 is \(3, 3\), but the layer has 5 channels"):
        student.set_roots({"relu2_1": torch.eye(3)})
    with pytest.raises(FstError, match="relu5_1"):
        student.set_roots({"relu5_1": torch.eye(3)})
    state = {**vgg_state(student), "root.relu2_1": torch.ones(14)}
    about = {"mean": "0,0,0", "std": "1,1,1"}
    (tmp_path / "s.safetensors").write_bytes(save({k: v.clone() for k, v in state.items()}, about))
    with pytest.raises(FstError, match="not a triangle of numbers"):
        load_loss_network(name="file", file=tmp_path / "s.safetensors")


def test_every_second_photo_is_disturbed_and_the_same_way_each_time() -> None:
    photos = torch.rand(6, 3, 32, 32)
    one, two = (disturb(photos, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one[::2], photos[::2])
    assert not torch.equal(one[1::2], photos[1::2])
    assert 0 <= one.min() <= one.max() <= 1


def test_fst_distill_makes_a_loss_network_that_trains_a_style(
    tiny_vgg: Path,
    photos: Path,
    painting: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FST_RUN_FOLDER", raising=False)
    monkeypatch.setattr("sys.argv", ["fst"])
    words = [
        f"data.root={photos}",
        f"teacher.file={tiny_vgg}",
        "widths=[[2,2],[3,3],[4,4,4],[4,4,4]]",
    ]
    words += ["data.size=32", "data.batch_size=4", "data.workers=0", "trainer.accelerator=cpu"]
    words += ["trainer.max_steps=30", "trainer.val_check_interval=15"]
    words += ["trainer.log_every_n_steps=1"]
    save_file(load_file(tiny_vgg), "bare.safetensors")  # without a word on its input
    assert main(["distill", *words, "teacher.file=bare.safetensors"]) == 2
    assert "does not say which mean and std its input has" in capsys.readouterr().err
    assert main(["distill", *words]) == 0
    out = capsys.readouterr().out
    assert "teacher        tiny_vgg.safetensors" in out
    totals = [
        float(line.split("total ")[1].split()[0]) for line in out.splitlines() if "total " in line
    ]
    assert sum(totals[-5:]) < sum(totals[:5])

    made = tmp_path / "runs" / "distill" / "loss_network.safetensors"
    about = json.loads((made.parent / "run.json").read_text())
    assert about["command"][:2] == ["fst", "distill"]
    finer = ["run_dir=finer", f"on_from={made}", "learning_rate=1e-3", "trainer.max_steps=2"]
    finer.append("weights={features: 1, gram: 1, content: 1, response: 1}")
    assert main(["distill", *[w for w in words if "max_steps" not in w], *finer]) == 0
    assert "response " in capsys.readouterr().out
    train = ["train", "experiment=laptop", "loss=johnson", "loss_network=file"]
    train += [f"loss_network.file={made}", f"style.image={painting}", f"data.root={photos}"]
    train += ["style.size=64", "data.size=32", "data.workers=0", "trainer.max_steps=1"]
    assert main([*train, "trainer.accelerator=cpu", "net.width=4"]) == 0
    assert "loss network   loss_network.safetensors" in capsys.readouterr().out
