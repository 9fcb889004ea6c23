"""iSogCLR: three official steps with their state, checkpoints, evaluation mode, large logits."""

from __future__ import annotations

import pytest
import torch
from objective_checks import assert_close, assert_finite, tensor
from reference.vectors import reference_cases

from core.errors import KindredError
from core.objectives.isogclr import IndividualTemperatures

NEVER = -700.0
"""Log of an average that stands for 'seen, at 0': the official code starts there after its first epoch."""


def _module(args: dict, dtype: torch.dtype) -> IndividualTemperatures:
    module = IndividualTemperatures(
        args["N"],
        bimodal="bimodal" in args["loss"],
        temperature=args["tau_init"],
        bounds=(args["tau_min"], args["tau_max"]),
        rho=args["rho"],
        decay=args["gamma"],
        rate=args["eta"],
        momentum=args["beta_u"],
        clip=args["grad_clip"],
    ).to(dtype)
    module.temperature.fill_(args["tau_init"])
    return module


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_official_steps_with_state(dtype: torch.dtype) -> None:
    """The official state is float32 throughout, hence 1e-6 rather than 1e-9."""
    near = 1e-6 if dtype == torch.float64 else 1e-4
    for case in reference_cases("core_isogclr_official"):
        args, given, out = case["args"], case["in"], case["out"]
        module = _module(args, dtype)
        if module.bimodal:
            module.log_average.fill_(NEVER)
        for step in range(args["steps"]):
            if module.bimodal:
                x, y = tensor(given[f"x{step}"], dtype), tensor(given[f"t{step}"], dtype)
            else:
                x, y = tensor(given[f"f{step}"], dtype).unbind(1)
            x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
            loss = module(tensor(given[f"i{step}"], dtype), x, y)
            assert_close(loss, out["losses"][step], near, f"loss of step {step}")
            if step == 0 and not module.bimodal:
                module.log_average[torch.isinf(module.log_average)] = NEVER
        found = torch.autograd.grad(loss, [x, y])
        if module.bimodal:
            last = args["steps"] - 1
            assert_close(found[0], case["grad"][f"x{last}"], near, "gradient of x")
            assert_close(found[1], case["grad"][f"t{last}"], near, "gradient of t")
            for side, name in enumerate("IT"):
                assert_close(module.temperature[side], out[f"tau_{name}"], near, f"tau_{name}")
            average = torch.from_numpy(out["s_I"]).log() + torch.from_numpy(out["b_I"])
            seen = torch.isfinite(average)
            assert_close(module.log_average[0][seen], average[seen].numpy(), near, "average")
            assert_close(module.descent[0], out["u_I"], near, "u_I")
        else:
            last = args["steps"] - 1
            assert_close(torch.stack(found, 1), case["grad"][f"f{last}"], near, "gradient")
            assert_close(module.temperature[0], out["tau"], near, "tau")
            assert_close(module.log_average[0].exp(), out["s"], near, "s")
            assert_close(module.descent[0], out["u"], near, "u")


@pytest.mark.parametrize("bimodal", [False, True])
def test_state_travels_in_the_checkpoint(bimodal: bool) -> None:
    one = IndividualTemperatures(9, bimodal=bimodal)
    index, x, y = torch.tensor([1, 7, 4]), *torch.randn(2, 3, 5)
    one(index, x, y)
    two = IndividualTemperatures(9, bimodal=bimodal)
    two.load_state_dict(one.state_dict())
    torch.testing.assert_close(one(index, y, x), two(index, y, x), rtol=0, atol=0)
    assert torch.equal(one.temperature, two.temperature)
    untouched = [i for i in range(9) if i not in (1, 4, 7)]
    assert torch.isinf(one.log_average[:, untouched]).all()


def test_evaluation_leaves_the_state_alone() -> None:
    module = IndividualTemperatures(5).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module(torch.tensor([0, 3]), torch.randn(2, 4), torch.randn(2, 4))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize("bimodal", [False, True])
def test_coldest_temperatures_half_precision_and_lonely_batches(bimodal: bool) -> None:
    module = IndividualTemperatures(9, bimodal=bimodal, temperature=0.005, bounds=(0.005, 1.0))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.randn(4, 6, dtype=dtype, requires_grad=True)
        y = (10 * torch.randn(4, 6)).to(dtype).requires_grad_()
        assert_finite(module(torch.tensor([0, 1, 2, 3]), x, y), x, y)
    assert torch.isfinite(module.log_average[:, :4]).all()
    x = torch.randn(1, 6, requires_grad=True)
    loss = module(torch.tensor([8]), x, x)
    assert float(loss.detach()) == 0
    assert_finite(loss, x)
    assert torch.isinf(module.log_average[:, 8]).all()
    loss = module(torch.tensor([5, 6]), x.repeat(2, 1), x.repeat(2, 1), groups=torch.tensor([3, 3]))
    assert float(loss.detach()) == 0


@pytest.mark.parametrize("bimodal", [False, True])
def test_first_step_against_loops_with_groups(bimodal: bool) -> None:
    x, y = torch.nn.functional.normalize(torch.randn(2, 4, 3, dtype=torch.float64), dim=-1)
    groups = torch.tensor([0, 0, 1, 2])
    losses = []
    for i in range(4):
        others = [j for j in range(4) if groups[j] != groups[i]]
        if bimodal:
            for rows, columns in ((x, y), (y, x)):
                gaps = torch.stack([rows[i] @ columns[j] - x[i] @ y[i] for j in [i, *others]])
                losses.append((gaps / 0.1).softmax(0) @ gaps)
        else:
            for rows in (x, y):
                cosines = torch.stack([rows[i] @ side[j] for side in (x, y) for j in others])
                losses.append((cosines / 0.1).softmax(0) @ cosines - x[i] @ y[i])
    module = IndividualTemperatures(4, bimodal=bimodal, temperature=0.1).double()
    module.temperature.fill_(0.1)
    found = module(torch.arange(4), x, y, groups=groups)
    torch.testing.assert_close(found, torch.stack(losses).sum() / 4)


def test_a_start_outside_the_bounds_is_refused() -> None:
    with pytest.raises(KindredError, match="temperature"):
        IndividualTemperatures(5, temperature=2.0)
