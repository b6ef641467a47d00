"""The parity check of each task: what differs is refused by its stage, near-ties are listed, all else agrees."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ops
import toolkit
from toolkit.data import load_table
from toolkit.errors import UserError
from toolkit.exporting import parity
from toolkit.inference.model import Model
from toolkit.inference.segmentation import as_mask
from toolkit.results import SegmentationResult
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.run_folder import open_run

TASKS = ("detection", "classification", "segmentation")
# Of every answer in JSON form, what has an entry for each box.
OF_BOXES = ("boxes", "scores", "class_ids", "labels")
Answer = dict[str, Any]


@dataclass
class Sides:
    """What is compared: a run's trained network, its bundle, and two validation pictures that it says something of."""

    reference: parity.Reference
    model: Model
    pictures: list[Path]

    def certify(self, ask: Callable[[Answer], Answer] = lambda answer: answer) -> Answer:
        """Certify the pictures; ``ask`` changes what the service answers."""
        sound = toolkit.load(self.model.bundle.path, "cpu")
        return parity.certify(
            self.reference, self.model, self.pictures, lambda data: ask(sound.predict_one(data).to_dict())
        )


def trained_network(run: Path) -> torch.nn.Module:
    network = build_network(open_run(run).config().config.model, 3)
    state = torch.load(run / "checkpoints/best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): value for name, value in state.items()})
    return network.eval()  # type: ignore[no-any-return]


@pytest.fixture
def sides(quick_runs: Callable[[str], Path]) -> Callable[[str], Sides]:
    def of(task: str) -> Sides:
        run = quick_runs(task)
        config = open_run(run).config().config
        model = toolkit.load(run, "cpu")
        paths = [sample.path for sample in load_table(config).samples]
        if task == "detection":
            paths = [path for path in paths if len(model.predict_one(path).scores)]
            assert len(paths) >= 2, "the quick run finds nothing: there is nothing to compare"
        return Sides(parity.Reference(trained_network(run), preprocessing_of(config)), model, paths[:2])

    return of


@pytest.mark.parametrize("task", TASKS)
def test_both_sides_agree(task: str, sides: Callable[[str], Sides]) -> None:
    certificate = sides(task).certify()
    assert certificate["passed"]
    assert certificate["pictures"] == 2
    assert certificate["near_ties"] == []
    assert set(certificate["largest_difference"]) == {"decode", "preprocess", "logits", "result"}
    assert certificate["largest_difference"]["result"] < 0.02  # of a pixel, at most
    assert json.loads(parity.to_bytes(certificate)) == certificate


@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_certificate_is_of_all_validation_pictures(task: str, quick_runs: Callable[[str], Path]) -> None:
    certificate = json.loads((quick_runs(task) / "bundle/parity.json").read_text(encoding="utf-8"))
    held_out = json.loads((quick_runs(task) / "labels.json").read_text(encoding="utf-8"))["pictures"]["val"]
    assert certificate["pictures"] == min(32, held_out)
    assert certificate["compared"] == ["torch", "ONNX Runtime (cpu)", "service, in process"]


# -- the stages, each broken on one side ---------------------------------------------------------------------------


def swap_colours(both: Sides) -> None:
    """The network was trained on one order of colours; the bundle feeds it the other."""
    kept = both.reference.preprocessing
    other = "rgb" if kept.color == "bgr" else "bgr"
    both.reference = dataclasses.replace(both.reference, preprocessing=kept.model_copy(update={"color": other}))


def stretch_or_not(both: Sides) -> None:
    kept = both.reference.preprocessing
    other = {"letterbox": "stretch", "stretch": "crop"}[kept.kind]
    size = (kept.input_size[0], kept.input_size[1] + 32)  # of another shape than the pictures
    both.reference = dataclasses.replace(
        both.reference, preprocessing=kept.model_copy(update={"kind": other, "input_size": size})
    )


def turn_colours_at_decoding(both: Sides) -> None:
    whole = both.model.decode
    both.model.decode = lambda data, name=None: lambda: whole(data, name=name)()[:, :, ::-1].copy()  # type: ignore


def change_a_weight(both: Sides) -> None:
    *_, last = both.reference.network.parameters()
    with torch.no_grad():
        last += 0.5


def lose_an_output(both: Sides) -> None:
    whole = both.model.network
    both.model.network = lambda batch, **_: [whole(batch)[0][:, :-1]]  # type: ignore[method-assign,misc]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("breaking", "stage", "reason"),
    [
        (turn_colours_at_decoding, "decode", "grey levels on average"),
        (swap_colours, "preprocess", "the largest difference is"),
        (stretch_or_not, "preprocess", "expected shape"),
        (change_a_weight, "logits", "the largest difference is"),
        (lose_an_output, "logits", "expected shape"),
    ],
)
def test_the_stage_that_differs_is_named(
    task: str, breaking: Callable[[Sides], None], stage: str, reason: str, sides: Callable[[str], Sides]
) -> None:
    both = sides(task)
    breaking(both)
    with pytest.raises(UserError) as caught:
        both.certify()
    told = str(caught.value)
    assert told.startswith(f"export refused by the parity check at stage '{stage}' on {both.pictures[0].name}: ")
    assert reason in told


# -- answers of the service that are not the network's -------------------------------------------------------------


def lose_the_best(answer: Answer) -> Answer:
    return {key: value[1:] if key in OF_BOXES else value for key, value in answer.items()}


def invent_a_box(answer: Answer) -> Answer:
    extra = {"boxes": [1.0, 1.0, 30.0, 30.0], "scores": 0.9, "class_ids": 0, "labels": "circle"}
    return {key: [extra[key], *value] if key in OF_BOXES else value for key, value in answer.items()}


def move_a_box(answer: Answer) -> Answer:
    first, *others = answer["boxes"]
    return {**answer, "boxes": [[first[0] + 1.0, *first[1:]], *others]}


def change_class_ids(answer: Answer) -> Answer:
    return {**answer, "class_ids": [(class_id + 1) % 3 for class_id in answer["class_ids"]]}


def change_the_order_of_classes(answer: Answer) -> Answer:
    return {**answer, "probabilities": answer["probabilities"][::-1]}


def round_too_much(answer: Answer) -> Answer:
    return {**answer, "probabilities": [round(value, 2) for value in answer["probabilities"]]}


def lose_a_class(answer: Answer) -> Answer:
    return {**answer, "probabilities": answer["probabilities"][:-1]}


def swap_two_classes(answer: Answer) -> Answer:
    """What was background is now warm, and the other way round."""
    other = {0: 1, 1: 0, 2: 2}
    return {**answer, "masks": [{**part, "class_id": other[part["class_id"]]} for part in answer["masks"]]}


def with_mask(answer: Answer, mask: np.ndarray) -> Answer:
    result = SegmentationResult("x", mask.shape, ("background", "warm", "cold"), np.ascontiguousarray(mask))
    return {**answer, **{key: result.to_dict()[key] for key in ("image_size", "masks")}}


def shift_by_a_pixel(answer: Answer) -> Answer:
    return with_mask(answer, np.roll(as_mask(answer), 1, axis=1))


def halve_the_mask(answer: Answer) -> Answer:
    return with_mask(answer, as_mask(answer)[::2, ::2])


@pytest.mark.parametrize(
    ("task", "change", "reason"),
    [
        ("detection", lose_the_best, "which was not found"),
        ("detection", invent_a_box, "found circle 0.9000 at [1.0, 1.0, 30.0, 30.0], which was not expected"),
        ("detection", move_a_box, "which was not found"),
        ("detection", change_class_ids, "which was not found"),
        ("classification", change_the_order_of_classes, "expected "),
        ("classification", round_too_much, "expected "),
        ("classification", lose_a_class, "expected 3 probabilities, found 2"),
        ("segmentation", swap_two_classes, "pixels of the mask differ"),
        ("segmentation", shift_by_a_pixel, "pixels of the mask differ"),
        ("segmentation", halve_the_mask, "expected a mask of"),
    ],
)
def test_a_service_that_answers_otherwise_is_refused(
    task: str, change: Callable[[Answer], Answer], reason: str, sides: Callable[[str], Sides]
) -> None:
    both = sides(task)
    with pytest.raises(UserError) as caught:
        both.certify(change)
    told = str(caught.value)
    assert f"at stage 'result' on {both.pictures[0].name}: torch and the service differ: " in told
    assert reason in told


# -- decisions that are too near to call -----------------------------------------------------------------------------


def add_to_logits(both: Sides, bias: np.ndarray) -> None:
    """Change both sides alike, as if the network had been trained so."""
    network, whole = both.reference.network, both.model.network

    class Biased(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return network(x) + torch.from_numpy(bias)  # type: ignore[no-any-return]

    both.reference = dataclasses.replace(both.reference, network=Biased().eval())
    both.model.network = lambda batch, **_: [whole(batch)[0] + bias]  # type: ignore[method-assign,misc]


def raw_output(both: Sides) -> tuple[np.ndarray, Any]:
    """The first picture's logits and its placement."""
    batch, placements = both.model.preprocess([both.model.decode(both.pictures[0])()])
    return both.model.network(batch)[0][0], placements[0]


NEAR = [(2e-5, True), (5e-3, False)]  # of the best two classes: how far apart, and whether that is a near-tie


@pytest.mark.parametrize(("gap", "tie"), NEAR)
def test_a_rival_class(gap: float, tie: bool, sides: Callable[[str], Sides]) -> None:
    both = sides("classification")
    both.pictures = both.pictures[:1]
    raw, _ = raw_output(both)
    second, first = np.argsort(raw)[-2:]
    bias = np.zeros(3, np.float32)
    bias[second] = raw[first] - raw[second] - gap
    add_to_logits(both, bias)
    logits = (raw + bias).astype(np.float64)
    swapped = np.exp(logits) / np.exp(logits).sum()
    swapped[[first, second]] = swapped[[second, first]]
    outcome = certified(both, lambda answer: {**answer, "probabilities": swapped.tolist()})
    names = both.model.labels
    sentence = f"{both.pictures[0].name}: expected {names[first]}, found {names[second]} (near-tie)"
    assert outcome == ([sentence] if tie else "result")


@pytest.mark.parametrize(("gap", "tie"), NEAR)
def test_a_pixel_on_the_border(gap: float, tie: bool, sides: Callable[[str], Sides]) -> None:
    """The pixel whose best two classes are nearest is brought to that gap; the service says the other one."""
    both = sides("segmentation")
    both.pictures = both.pictures[:1]
    raw, placement = raw_output(both)
    size = both.model.decode(both.pictures[0])().shape[:2]
    fine = bilinear(raw, size, placement, both.model.spec.preprocessing.input_size)
    order = np.sort(fine, axis=0)
    y, x = np.unravel_index((order[-1] - order[-2]).argmin(), size)
    second, first = np.argsort(fine[:, y, x])[-2:]
    bias = np.zeros((3, 1, 1), np.float32)
    bias[second] = fine[first, y, x] - fine[second, y, x] - gap
    add_to_logits(both, bias)
    expected = ops.argmax_resize(
        raw + bias, size, input_size=both.model.spec.preprocessing.input_size, placement=placement
    )
    assert expected[y, x] == first
    other = expected.copy()
    other[y, x] = second
    outcome = certified(both, lambda answer: with_mask(answer, other))
    sentence = f"{both.pictures[0].name}: 1 of {expected.size} pixels of the mask differ (near-tie)"
    assert outcome == ([sentence] if tie else "result")


def bilinear(raw: np.ndarray, size: Any, placement: Any, inputs: Any) -> np.ndarray:
    """Logits at the centres of the picture's pixels, float64 [C, H, W]."""
    weights = []
    for axis, scale, offset in ((0, placement.scale_y, placement.top), (1, placement.scale_x, placement.left)):
        cells = raw.shape[1 + axis]
        at = ((np.arange(size[axis]) + 0.5) * scale + offset) * cells / inputs[axis] - 0.5
        at = np.clip(at, 0, cells - 1)
        weights.append(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells))))  # a tent at every cell
    return np.einsum("cyx,Yy,Xx->cYX", raw.astype(np.float64), *weights)


@pytest.mark.parametrize(("distance", "tie"), [(5e-5, True), (5e-4, False)])
def test_a_box_at_the_threshold(distance: float, tie: bool, sides: Callable[[str], Sides]) -> None:
    """A box that hardly passes the score threshold may be missing."""
    both = sides("detection")
    both.pictures = both.pictures[:1]
    least = float(both.model.predict_one(both.pictures[0]).scores[-1])
    shipped = both.model.spec.postprocessing
    changed = shipped.model_copy(update={"score_threshold": least - distance})
    spec = both.model.spec.model_copy(update={"postprocessing": changed})
    object.__setattr__(both.model.bundle, "spec", spec)

    def drop_the_last(answer: Answer) -> Answer:
        keep = np.asarray(answer["scores"]) > least + 1e-6
        return {key: [v for v, k in zip(value, keep, strict=True) if k] if key in OF_BOXES else value
                for key, value in answer.items()}  # fmt: skip

    outcome = certified(both, drop_the_last)
    if tie:
        assert len(outcome) >= 1
        assert all(line.startswith(both.pictures[0].name) and line.endswith("(near-tie)") for line in outcome)
    else:
        assert outcome == "result"


def certified(both: Sides, ask: Callable[[Answer], Answer]) -> list[str] | str:
    """The near-ties, or the stage at which the check refused."""
    try:
        return list(both.certify(ask)["near_ties"])
    except UserError as error:
        return str(error).partition("at stage '")[2].partition("'")[0]


def test_no_pictures_certify_nothing(sides: Callable[[str], Sides]) -> None:
    both = sides("classification")
    both.pictures = []
    with pytest.raises(UserError, match="expected at least one validation picture, got none"):
        both.certify()
