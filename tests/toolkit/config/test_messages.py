"""What a user is told about a config: every fault with its line, what was expected, what came, what to do."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from toolkit.config import parse_config
from toolkit.errors import UserError

CONFIGS = {
    task: Path(__file__).with_name(f"{task}.yaml").read_text()
    for task in ("detection", "classification", "segmentation")
}
DETECTION, CLASSIFICATION, SEGMENTATION = CONFIGS.values()
TASKS = "'detection', 'classification' or 'segmentation'"


def message(text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_config(text, name="configs/x.yaml", directory="/configs", overrides=overrides)
    return str(caught.value)


# One line of DETECTION replaced -> the whole message: what every task has in common.
FAULTS = [
    ("name: yolox_nano", "nmae: yolox_nano", "7: model.nmae: unknown key; did you mean 'name'?"),
    ("root: pictures", "rot: pictures", "5: data.rot: unknown key; did you mean 'root'?"),
    ("format: coco", "fromat: coco", "4: data.fromat: unknown key; did you mean 'format'?"),
    ("input_size: [320", "inptu_size: [320", "8: model.inptu_size: unknown key; did you mean 'input_size'?"),
    ("name: mask", "name: my mask", "1: name: expected letters, digits, _ and - only, got 'my mask' (text)"),
    ("name: mask", "name: 5", "1: name: expected text, got 5 (number); put it in quotes to make it text"),
    (
        "format: coco",
        "format: cocoo",
        "4: data.format: expected 'coco', 'voc', 'yolo' or 'shapes', got 'cocoo'; did you mean 'coco'?",
    ),
    ("format: coco", "format: 7", "4: data.format: expected 'coco', 'voc', 'yolo' or 'shapes', got 7 (number)"),
    (
        "name: yolox_nano",
        "name: yolo_nano",
        "7: model.name: expected 'yolox_nano', 'yolox_tiny' or 'yolox_s', got 'yolo_nano'; did you mean 'yolox_nano'?",
    ),
    (
        "  root: pictures\n",
        "",
        "3: data.root: required key is missing (folder of the data set, with the labels "
        "and the pictures in it); set it, or give data.root=/your/pictures on the command line",
    ),
    (
        "  format: coco\n",
        "",
        "3: data.format: required key is missing; set it to 'coco', 'voc', 'yolo' or 'shapes', "
        "or give data.format=coco on the command line",
    ),
    ("root: pictures", "root: ''", "5: data.root: expected a path, got an empty text"),
    ("root: pictures", "root: [a]", "5: data.root: expected text, got ['a'] (list)"),
    ("[320, 416]", "[300, 416]", "8: model.input_size.0: expected a multiple of 32, got 300 (number)"),
    ("[320, 416]", "[416]", "8: model.input_size: expected 2 values, got [416] (list)"),
    ("[320, 416]", "[32, 32, 32]", "8: model.input_size: expected 2 values, got [32, 32, 32] (list)"),
    ("[320, 416]", "416", "8: model.input_size: expected a list, got 416 (number)"),
    ("[320, 416]", "[320, 1e3]", "8: model.input_size.1: expected a whole number, got 1000.0 (number)"),
    ("epochs: 10", "epochs: ten", "10: train.epochs: expected a whole number, got 'ten' (text)"),
    ("epochs: 10", "epochs: '10'", "10: train.epochs: expected a whole number, got '10' (text)"),
    ("epochs: 10", "epochs: 0", "10: train.epochs: expected 1 or more, got 0 (number)"),
    ("epochs: 10", "epochs: true", "10: train.epochs: expected a whole number, got true"),
    ("epochs: 10", "epochs:", "10: train.epochs: expected a whole number, got null"),
    ("epochs: 10", "lr: 10", "10: train.lr: unknown key; did you mean 'train.optimizer.lr'?"),
    ("epochs: 10", "clip_norm: .inf", "10: train.clip_norm: expected a finite number, got .inf (infinity)"),
    ("epochs: 10", "clip_norm: -.5", "10: train.clip_norm: expected a number above 0, got -0.5 (number)"),
    ("epochs: 10", "ema_decay: 1", "10: train.ema_decay: expected a number below 1, got 1 (number)"),
    ("epochs: 10", "min_lr_ratio: 1.5", "10: train.min_lr_ratio: expected 1 or less, got 1.5 (number)"),
    (
        "momentum: 0.8",
        "momentum: .nan",
        "13: train.optimizer.momentum: expected a finite number, got .nan (not a number)",
    ),
    (
        "momentum: 0.8",
        "nesterov: yes",
        "13: train.optimizer.nesterov: expected true or false, got 'yes' (text); write true or false",
    ),
    (
        "name: sgd",
        "name: adamw",
        "13: train.optimizer.momentum: unknown key for name 'adamw' (set by configs/x.yaml:12), it belongs to 'sgd'; "
        "remove it, or give the whole block as train.optimizer={name: adamw}",
    ),
    (
        "train:",
        "preprocess:\ntrain:",
        "9: preprocess: expected a block of keys, got null; leave it out to take the defaults",
    ),
    (
        "train:",
        "preprocess: {pad_multiple: 48}\ntrain:",
        "9: preprocess.pad_multiple: expected a multiple of 32, got 48 (number)",
    ),
    (
        "train:",
        "preprocess: {kind: stretch, pad_multiple: 32}\ntrain:",
        "9: preprocess: pad_multiple is for kind 'letterbox', got kind 'stretch', which pads nothing; remove one",
    ),
    (
        "train:",
        "augment: {zoom: {object_size: [9, 3]}}\ntrain:",
        "9: augment.zoom.object_size: expected [smallest, largest], got [9.0, 3.0]",
    ),
    (
        "train:",
        "augment: {albumentations: [{A: {}, B: {}}]}\ntrain:",
        "9: augment.albumentations.0: expected one transform, as in '- HorizontalFlip: {p: 0.5}', got 2 keys",
    ),
    (
        "root: pictures",
        "root: pictures\n  classes: [a, b, a]",
        "6: data.classes: expected every name once, got 'a' more than once",
    ),
    (
        "root: pictures",
        "root: pictures\n  classes: []",
        "6: data.classes: expected at least 1 in the list, got [] (list)",
    ),
]


@pytest.mark.parametrize(("line", "instead", "expected"), FAULTS)
def test_fault_with_its_line(line: str, instead: str, expected: str) -> None:
    assert DETECTION.count(line) == 1
    assert message(DETECTION.replace(line, instead)) == f"configs/x.yaml:{expected}"


def test_all_faults_at_once_in_the_order_of_the_lines() -> None:
    text = DETECTION.replace("epochs: 10", "epohcs: 10").replace("root: pictures", "folder: pictures")
    lines = message(text).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["configs/x.yaml:3", "data.root"],
        ["configs/x.yaml:5", "data.folder"],
        ["configs/x.yaml:10", "train.epohcs"],
    ]


@pytest.mark.parametrize("task", CONFIGS)
def test_configs_of_these_tests_have_no_fault(task: str) -> None:
    assert parse_config(CONFIGS[task]).config.task == task


def test_missing_blocks() -> None:
    text = message("name: a\ntask: detection\n")
    assert "configs/x.yaml:1: data: required block is missing (the pictures and their labels)" in text
    assert "add it, beginning with its key 'format'" in text


@pytest.mark.parametrize("task", CONFIGS)
class TestTask:
    """A task that is missing or no word of ours is one fault in one line, whatever else the config says."""

    def test_missing(self, task: str) -> None:
        assert message(CONFIGS[task].replace(f"task: {task}\n", "")) == (
            f"configs/x.yaml:1: task: required key is missing; set it to {TASKS}, "
            f"or give task={task} on the command line"
        )

    def test_misspelt(self, task: str) -> None:
        text = CONFIGS[task].replace("task:", "taks:")
        assert message(text) == "configs/x.yaml:2: taks: unknown key; did you mean 'task'?"

    @pytest.mark.parametrize("removed", [1, 2])  # the last letters; the word itself is as near as before
    def test_nearly_right(self, task: str, removed: int) -> None:
        word = task[:-removed]
        assert message(CONFIGS[task].replace(f"task: {task}", f"task: {word}")) == (
            f"configs/x.yaml:2: task: expected {TASKS}, got {word!r}; did you mean {task!r}?"
        )

    def test_no_task_at_all(self, task: str) -> None:
        assert message(CONFIGS[task], "task=boxes") == (
            f"override task=boxes: expected {TASKS}, got 'boxes'; everything else here is for {task!r}"
        )

    @pytest.mark.parametrize(
        ("value", "shown"), [("5", "5 (number)"), ("null", "null"), ("[]", "[] (list)"), ("{a: b}", "a block of keys")]
    )
    def test_no_word(self, task: str, value: str, shown: str) -> None:
        text = CONFIGS[task].replace(f"task: {task}", f"task: {value}")
        assert message(text) == f"configs/x.yaml:2: task: expected {TASKS}, got {shown}"


@pytest.mark.parametrize("lacking", ["", "  root: pictures\n"])  # what is missing may come from the command line
@pytest.mark.parametrize(("task", "other"), list(permutations(CONFIGS, 2)))
def test_a_task_that_all_else_contradicts(task: str, other: str, lacking: str) -> None:
    text = CONFIGS[task].replace(f"task: {task}", f"task: {other}").replace(lacking, "")
    assert message(text) == (
        f"configs/x.yaml:2: task: everything else here is for {task!r}, not for {other!r}; "
        f"set it to {task!r}, or write the other blocks for {other!r}"
    )


def test_a_file_that_says_nothing_is_asked_for_its_task() -> None:
    assert message("name: a\n") == (
        f"configs/x.yaml:1: task: required key is missing; set it to {TASKS}, "
        "or give task=detection on the command line"
    )


# What is set (task of the config, override) -> the whole sentence after the override.
OF_ANOTHER_TASK = [
    ("classification", "augment.mosaic", "{}", "{unknown}, it belongs to 'detection'; remove it"),
    ("segmentation", "augment.mixup", "{}", "{unknown}, it belongs to 'classification'; remove it"),
    ("detection", "augment.crop_to_labels", "{}", "{unknown}, it belongs to 'segmentation'; remove it"),
    ("detection", "loss", "{}", "{unknown}, it belongs to 'classification' or 'segmentation'; remove it"),
    ("classification", "loss.dice_weight", "1", "{unknown}, it belongs to 'segmentation'; remove it"),
    ("segmentation", "loss.focal_gamma", "2", "{unknown}, it belongs to 'classification'; remove it"),
    ("classification", "postprocess.iou_threshold", "0", "{unknown}, it belongs to 'detection'; remove it"),
    ("detection", "postprocess.top_k", "5", "{unknown}, it belongs to 'classification'; remove it"),
    ("classification", "data.mask_columns", "{a: b}", "{unknown}, it belongs to 'segmentation'; remove it"),
    ("segmentation", "data.extra", "[a]", "{unknown}, it belongs to 'detection' or 'classification'; remove it"),
    ("detection", "model.width", "2", "{unknown}, it belongs to 'classification'; remove it"),
    ("detection", "model.encoder", "resnet18", "{unknown}, it belongs to 'segmentation'; remove it"),
    (
        "detection",
        "data.format",
        "folders",
        "expected 'coco', 'voc', 'yolo' or 'shapes', got 'folders', which belongs to task 'classification' {this}",
    ),
    (
        "detection",
        "data.format",
        "csv",
        "expected 'coco', 'voc', 'yolo' or 'shapes', got 'csv', which belongs to task 'classification' or "
        "'segmentation' {this}",
    ),
    (
        "classification",
        "data.format",
        "coco",
        "expected 'folders', 'csv' or 'shapes', got 'coco', which belongs to task 'detection' {this}",
    ),
    (
        "detection",
        "model.name",
        "unet",
        "expected 'yolox_nano', 'yolox_tiny' or 'yolox_s', got 'unet', which belongs to task 'segmentation' {this}",
    ),
    (
        "segmentation",
        "model.name",
        "resnet18",
        "expected 'unet' or 'deeplabv3', got 'resnet18', which belongs to task 'classification' {this}",
    ),
]


@pytest.mark.parametrize(("task", "key", "value", "expected"), OF_ANOTHER_TASK)
def test_what_belongs_to_another_task(task: str, key: str, value: str, expected: str) -> None:
    unknown = f"unknown key for task {task!r} (set by configs/x.yaml:2)"
    this = f"(this one is {task!r}, set by configs/x.yaml:2)"
    expected = expected.replace("{unknown}", unknown).replace("{this}", this)
    assert message(CONFIGS[task], f"{key}={value}") == f"override {key}={value}: {expected}"


def test_who_set_the_task_may_be_an_override() -> None:
    text = CLASSIFICATION.replace("task: classification", "") + "postprocess: {iou_threshold: 0.5}\n"
    assert message(text, "task=classification") == (
        "configs/x.yaml:15: postprocess.iou_threshold: unknown key for task 'classification' "
        "(set by override task=classification), it belongs to 'detection'; remove it"
    )


# (task of the config, override) -> the end of the message.
WRONG = [
    ("classification", "augment.mixpu={}", "augment.mixpu={}: unknown key; did you mean 'mixup'?"),
    ("classification", "augment.mixup.alpah=1", "augment.mixup.alpah=1: unknown key; did you mean 'alpha'?"),
    ("segmentation", "los.kind=ce", "los.kind=ce: los: unknown key; did you mean 'loss'?"),
    ("segmentation", "loss.dice_weigth=1", "loss.dice_weigth=1: unknown key; did you mean 'dice_weight'?"),
    (
        "segmentation",
        "augment.mosiac={}",
        "unknown key; the keys here are oversample_rare, balance_sources, albumentations, ",
    ),
    ("classification", "smoothing=0", "smoothing=0: unknown key; did you mean 'loss.smoothing'?"),
    ("detection", "train.smoothing=0", "train.smoothing=0: unknown key; the keys here are epochs, batch_size, "),
    ("classification", "preprocess.smoothing=0", "unknown key; did you mean 'loss.smoothing'?"),
    *(
        (
            task,
            "preprocess.pad_multiple=32",
            f"preprocess.pad_multiple=32: unknown key for task '{task}' (set by configs/x.yaml:2), it belongs to"
            " 'detection'; remove it",
        )
        for task in ("classification", "segmentation")
    ),
    ("classification", "loss=", "expected a block of keys, got null; leave it out to take the defaults"),
    ("classification", "data=", "override data=: expected a block of keys, got null"),  # there are no defaults
    ("classification", "data.extra=more", "data.extra=more: expected a list, got 'more' (text)"),
    ("classification", "data.extra=[a, 5]", "data.extra.1: expected text, got 5 (number); put it in quotes"),
    ("classification", "data.extra=['']", "data.extra.0: expected a path, got an empty text"),
    ("classification", "model.width=9", "model.width=9: expected 2 or less, got 9 (number)"),
    ("classification", "loss.smoothing=1", "loss.smoothing=1: expected a number below 1, got 1 (number)"),
    ("classification", "loss.focal_gamma=0", "loss.focal_gamma=0: expected a number above 0, got 0 (number)"),
    ("segmentation", "data.classes=[lung]", "expected at least 2 in the list, got ['lung'] (list)"),
    ("segmentation", "data.classes=[a, a]", "expected every name once, got 'a' more than once"),
    ("segmentation", "data.mask_columns=[lung]", "expected a block of keys, got ['lung'] (list)"),
    ("segmentation", "data.mask_columns={lung: ''}", "data.mask_columns.lung: expected a text that is not empty, "),
    (
        "segmentation",
        "data.mask_columns={'': lung}",
        "mask_columns={'': lung}: expected a text that is not empty before every ':', got '' (text)",
    ),
    ("segmentation", "postprocess.regions={a: [5]}", "postprocess.regions.a.0: expected text, got 5 (number)"),
    ("segmentation", "postprocess.regions={a: lung}", "postprocess.regions.a: expected a list, got 'lung' (text)"),
    ("segmentation", "loss.class_weights=[1, 0]", "loss.class_weights.1: expected a number above 0, got 0 (number)"),
    ("segmentation", "model.encoder=vgg", "expected 'mobilenet_v2', 'resnet18' or 'resnet50', got 'vgg'"),
    (
        "segmentation",
        "augment.crop_to_labels.margin=[1, 0]",
        "augment.crop_to_labels.margin=[1, 0]: expected [smallest, largest], got [1.0, 0.0]",
    ),
    (
        "segmentation",
        "data={format: masks, root: a}",
        "data.classes: required key is missing (class names in the order of the ids in the masks; the first is the "
        'background); set it, or give data.classes=["background", "thing"] on the command line',
    ),
    # A key of another choice within the task: the word that was set is named, also where a block has several.
    (
        "classification",
        "model.name=resnet50",
        "configs/x.yaml:10: model.width: unknown key for name 'resnet50' (set by override model.name=resnet50), it "
        "belongs to 'mobilenet_v2'; remove it, or give the whole block as model={name: resnet50}",
    ),
    (
        "classification",
        "data={format: csv, root: a, extra: [b]}",
        "data.extra: unknown key for format 'csv' (set by override data={format: csv, root: a, extra: [b]}), it "
        "belongs to 'folders'; remove it, or give the whole block as data={format: csv, ...}",
    ),
    (
        "detection",
        "data={format: shapes, images: a}",
        "unknown key for format 'shapes' (set by override data={format: shapes, images: a}), it belongs to 'coco', "
        "'voc' or 'yolo'; remove it, or give the whole block as data={format: shapes}",
    ),
]


@pytest.mark.parametrize(("task", "override", "expected"), WRONG)
def test_faults_of_one_task(task: str, override: str, expected: str) -> None:
    text = message(CONFIGS[task], override)
    assert expected in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("train.seed: 5\n", "15: train.seed: unknown key; "),
        (
            "train.epochs: 5\n",
            "15: train.epochs: unknown key; keys with dots are for the command line, "
            "write 'epochs' into the block 'train'",
        ),
        (
            "train: {optimizer.lr: 1}\n",
            "15: train.optimizer.lr: unknown key; keys with dots are for the command line, "
            "write 'lr' into the block 'train.optimizer'",
        ),
    ],
)
def test_keys_with_dots_in_a_file(added: str, expected: str) -> None:
    assert message(CLASSIFICATION + added).startswith(f"configs/x.yaml:{expected}")


def test_several_faults_of_a_task_in_the_order_of_the_lines() -> None:
    text = SEGMENTATION.replace("encoder: resnet50", "width: 2").replace("class_weights: [0.5, 1, 2]", "gamma: 2")
    assert message(text).splitlines() == [
        "configs/x.yaml:12: model.width: unknown key for task 'segmentation' (set by configs/x.yaml:2), "
        "it belongs to 'classification'; remove it",
        "configs/x.yaml:16: loss.gamma: unknown key; the keys here are kind, dice_weight, dice_over, class_weights",
    ]
