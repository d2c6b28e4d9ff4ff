"""What holds for every loss in the table and its variants; a new line there is tested unasked."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import losses
from losses import LOSSES, RELEASED

CLASSES = 6
COUNTS = [900, 300, 40, 7, 1, 0]
EVERY = [(name, "paper") for name in LOSSES] + [(name, "released") for name in RELEASED]
MULTI_LABEL = [(n, v) for n, v in EVERY if not n.endswith("cross_entropy")]
every = pytest.mark.parametrize(("name", "variant"), EVERY)
multi_label = pytest.mark.parametrize(("name", "variant"), MULTI_LABEL)


def built(name: str, variant: str = "paper", **keywords: object) -> losses.Loss:
    if variant != "paper":
        keywords["variant"] = variant
    loss = losses.build(name, class_counts=COUNTS, num_classes=CLASSES, num_clips=1000, **keywords)
    return loss.eval() if loss.stateful else loss  # in training each call would change the next


def batch(criterion: losses.Loss, seed: int = 0, clips: int = 5) -> tuple[Tensor, Tensor]:
    """Inputs that the loss may be given: one-hot rows where only one label is allowed."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(clips, CLASSES, generator=generator)
    if criterion.wants == "probabilities":
        values = values.sigmoid()
    labels = torch.randint(
        CLASSES, (clips, 1 if criterion.single_label else 3), generator=generator
    )
    return values, torch.zeros(clips, CLASSES).scatter_(1, labels, 1.0)


def seeded(criterion: losses.Loss, values: Tensor, targets: Tensor) -> Tensor:
    torch.manual_seed(0)
    return criterion(values, targets)


@every
def test_a_loss_says_what_it_needs(name, variant):
    criterion = built(name, variant)
    assert isinstance(criterion, torch.nn.Module)
    assert criterion.wants in ("logits", "probabilities")
    assert criterion.single_label is (name == "cross_entropy")
    if criterion.needs_class_counts:
        with pytest.raises(ValueError, match=f"^{name}: the number of training clips of each"):
            losses.build(name, variant=variant)
    else:
        losses.build(name, variant=variant)


@every
def test_the_mean_and_the_sum_are_those_of_the_terms(name, variant):
    values, targets = batch(built(name, variant))
    terms = seeded(built(name, variant, reduction="none"), values, targets)
    assert terms.shape in {values.shape, values.shape[:1]}
    for reduction in ("mean", "sum"):
        found = seeded(built(name, variant, reduction=reduction), values, targets)
        assert found.shape == ()
        torch.testing.assert_close(found, getattr(terms, reduction)())


@every
def test_labels_of_every_number_type_give_the_same_loss(name, variant):
    criterion = built(name, variant)
    values, targets = batch(criterion)
    expected = seeded(criterion, values, targets)
    for dtype in (torch.float64, torch.float16, torch.int64, torch.bool):
        found = seeded(criterion, values, targets.to(dtype))
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


@every
def test_half_precision_is_computed_in_float32(name, variant):
    criterion = built(name, variant)
    values, targets = batch(criterion)
    for dtype in (torch.bfloat16, torch.float16):
        rounded = values.to(dtype)
        expected = seeded(criterion, rounded.float(), targets)
        assert torch.equal(seeded(criterion, rounded, targets.to(dtype)), expected)


@every
def test_autocast_changes_nothing(name, variant):
    criterion = built(name, variant)
    values, targets = batch(criterion)
    expected = seeded(criterion, values, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(seeded(criterion, values, targets), expected)


@every
@pytest.mark.parametrize("epoch", [0, 80])
def test_gradients_are_those_of_finite_differences(name, variant, epoch):
    criterion = built(name, variant, reduction="sum")
    criterion.set_epoch(epoch)
    values, targets = batch(criterion)
    values = values.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: seeded(criterion, v, targets), values)


@multi_label
@settings(max_examples=20, deadline=None)
@given(size=st.sampled_from([0.0, 17.0, 88.0, 104.0, 1e3, 1e4]), seed=st.integers(0, 99))
def test_loss_and_gradient_are_finite_and_the_loss_is_not_negative(name, variant, size, seed):
    criterion = built(name, variant, reduction="none")
    values, targets = batch(criterion, seed)
    if criterion.wants == "logits":
        values = size * values.sign()
    for dtype in (torch.float32, torch.bfloat16):
        inputs = values.to(dtype).detach().requires_grad_()
        found = criterion(inputs, targets)
        found.sum().backward()
        assert torch.isfinite(found).all()
        assert (found >= 0).all()
        assert torch.isfinite(inputs.grad).all()


@pytest.mark.parametrize(("name", "variant"), [pair for pair in EVERY if pair[0] != "EQL"])
def test_the_order_of_the_clips_does_not_matter(name, variant):
    criterion = built(name, variant, reduction="none")
    values, targets = batch(criterion, clips=9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    found = criterion(values[order], targets[order])
    torch.testing.assert_close(found, criterion(values, targets)[order])


@every
def test_a_checkpoint_restores_the_state(name, variant, tmp_path):
    criterion = built(name, variant)
    criterion.set_epoch(100)
    torch.save(criterion.state_dict(), tmp_path / "loss.pt")
    restored = built(name, variant)
    restored.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    values, targets = batch(criterion)
    assert torch.equal(seeded(restored, values, targets), seeded(criterion, values, targets))


@every
def test_all_tensors_follow_the_module(name, variant):
    criterion = built(name, variant).to("meta")
    assert all(buffer.is_meta for buffer in criterion.buffers())
    held = [k for k, v in vars(criterion).items() if isinstance(v, Tensor)]
    assert not held, f"{held} would stay behind on .to()"
    copy.deepcopy(built(name, variant))


@every
def test_shapes_that_differ_are_refused(name, variant):
    criterion = built(name, variant)
    values, targets = batch(criterion)
    with pytest.raises(ValueError, match=r"\(5, 6\) and targets \(5, 5\) differ in shape"):
        criterion(values, targets[:, :5])
    if criterion.needs_class_counts:
        with pytest.raises(ValueError, match="logits have 5 classes, class_counts has 6"):
            criterion(values[:, :5], targets[:, :5])


@every
def test_parameters_are_what_build_takes(name, variant):
    defaults = losses.parameters(name, variant)
    defaults.pop("variant", None)
    criterion = built(name, variant)
    values, targets = batch(criterion)
    expected = seeded(criterion, values, targets)
    assert torch.equal(seeded(built(name, variant, **defaults), values, targets), expected)
    losses.check(name, {**defaults, "variant": variant} if variant != "paper" else defaults)


@every
def test_an_unknown_parameter_is_refused_in_one_line_with_all_that_there_are(name, variant):
    with pytest.raises(TypeError) as caught:
        losses.check(name, {"gama": 2.0, "variant": variant} if name in RELEASED else {"gama": 2})
    message = str(caught.value)
    assert message.startswith(f"{name} has no parameter 'gama'; ")
    assert "\n" not in message
    for parameter, default in losses.parameters(name, variant).items():
        assert f"{parameter} {default!r}" in message


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("ldam", "LDAM"), ("LDAM-DRW", "LDAM"), ("focal_los", "focal_loss"), ("eql", "EQL")],
)
def test_an_unknown_name_lists_the_known_with_the_nearest_first(wrong, right):
    with pytest.raises(KeyError) as caught:
        losses.build(wrong)
    message = str(caught.value)
    assert message.startswith(f"unknown loss {wrong!r}; known: {right}, ")
    assert all(name in message for name in LOSSES)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("focal_loss", {"gamma": -1}, "focal_loss: gamma is -1; it must be a number of at least 0"),
        ("focal_loss", {"gamma": "two"}, "gamma is 'two'; it must be a number"),
        ("focal_loss", {"gamma": True}, "gamma is True; it must be a number"),
        ("focal_loss", {"alpha": 2}, "alpha is 2; it must be a number from 0 to 1"),
        ("LDAM", {"s": float("nan")}, "s is nan"),
        ("LDAM", {"drw_epoch": None}, "drw_epoch is None"),
        ("LDAM", {"drw_beta": 1.0}, "beta is 1; it must be less than 1"),
        ("EQL", {"gamma": 1.5}, "EQL: gamma is 1.5; it must be a number from 0 to 1"),
        ("EQL", {"variant": "released", "tail_fraction": 0.1}, "max_tail_num 100"),
        ("EQL", {"variant": "old"}, "EQL: variant is 'old'; there is paper or released"),
        ("bce", {"variant": "released"}, "bce: variant is 'released'; there is paper only"),
        ("bce", {"reduction": "sum"}, "bce has no parameter 'reduction'; it has none"),
        ("ASL", {"margin": 1.5}, "ASL: margin is 1.5; it must be a number from 0 to 1"),
        ("DB", {"drw_epoch": -1}, "DB: drw_epoch is -1; it must be a number of at least 0"),
        ("two_way", {"drw_epoch": 3}, "two_way has no parameter 'drw_epoch'"),
    ],
)
def test_a_bad_value_is_refused_before_there_are_counts(name, params, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        losses.check(name, params)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("EQL", "old", "EQL: variant is 'old'; there is paper or released"),
        ("EQL", None, "EQL: variant is None; there is paper or released"),
        ("EQL", {"a": 1}, "EQL: variant is {'a': 1}; there is paper or released"),
        ("bce", "released", "bce: variant is 'released'; there is paper only"),
    ],
)
def test_parameters_refuses_a_bad_variant_as_check_does(name, variant, message):
    for ask in (
        lambda: losses.parameters(name, variant),
        lambda: losses.check(name, {"variant": variant}),
    ):
        with pytest.raises(ValueError) as caught:
            ask()
        assert str(caught.value) == message
    with pytest.raises(losses.UnknownLoss, match="unknown loss 'eql'; known: EQL, "):
        losses.parameters("eql", variant)


def test_parameters_of_the_other_variant_alone_are_left_out_and_unknown_ones_are_not():
    params = {"tail_fraction": 0.1, "max_tail_num": 50, "gamma": 0.5}
    paper = losses.of_variant("EQL", params, "paper")
    assert paper == {"tail_fraction": 0.1, "gamma": 0.5}
    released = losses.of_variant("EQL", params, "released")
    assert released == {"max_tail_num": 50, "gamma": 0.5}
    losses.check("EQL", paper)
    losses.check("EQL", {**released, "variant": "released"})
    wrong = losses.of_variant("EQL", {"gama": 0.5, "tail_fraction": 0.1}, "released")
    assert wrong == {"gama": 0.5}
    with pytest.raises(TypeError, match="EQL has no parameter 'gama'; its parameters, .*: gamma"):
        losses.check("EQL", {**wrong, "variant": "released"})


@pytest.mark.parametrize(("name", "variant"), [("EQL", "old"), ("eql", "paper"), ("bce", "paper")])
def test_what_is_wrong_besides_is_left_for_check(name, variant):
    assert losses.of_variant(name, {"s": 1}, variant) == {"s": 1}


def test_a_bad_reduction_and_a_wrong_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="reduction is 'avg'; it must be one of mean, sum, none"):
        losses.build("bce_loss", reduction="avg")
    with pytest.raises(ValueError, match="class_counts has 6 classes, the model 140"):
        losses.build("LDAM", class_counts=COUNTS, num_classes=140)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.99])
def test_focal_has_safe_gradients_at_certainty_below_gamma_one(gamma):
    logits = torch.tensor([[0.0, 15, 40, 87, 88, 100, 104, 200, 1e4]], requires_grad=True)
    for targets in (torch.ones_like(logits), torch.zeros_like(logits)):
        logits.grad = None
        losses.build("focal_loss", gamma=gamma)(logits, targets).backward()
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("name", "variant"), [pair for pair in EVERY if pair[0] not in ("EQL", "two_way")]
)
def test_a_batch_in_parts_is_the_whole_batch(name, variant):
    """But for EQL, which draws for each batch, and the two-way loss, which compares its clips."""
    criterion = built(name, variant, reduction="none")
    values, targets = batch(criterion, clips=9)
    parts = [criterion(v, t) for v, t in zip(values.split(4), targets.split(4), strict=True)]
    torch.testing.assert_close(torch.cat(parts), criterion(values, targets))


@multi_label
def test_soft_targets_give_finite_losses_and_gradients_where_they_have_a_meaning(name, variant):
    criterion = built(name, variant)
    if not criterion.soft_targets:
        pytest.skip("a target above 0 is a positive to it")
    values, targets = batch(criterion)
    soft = 0.3 * targets + 0.7 * targets.flip(0)
    values.requires_grad_()
    loss = seeded(criterion, values, soft)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(values.grad).all()


@every
def test_compiling_changes_nothing(name, variant):
    """Traced as torch.compile does it, with its plainest backend: it needs no compiler."""
    criterion = built(name, variant)
    values, targets = batch(criterion)
    expected = seeded(criterion, values, targets)
    compiled = torch.compile(criterion, backend="aot_eager")
    torch.testing.assert_close(seeded(compiled, values, targets), expected)
