from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch

from core.errors import CheckpointError, ConfigError, KindredError
from core.learning import callbacks
from core.learning.checkpoint import checkpoint_path
from core.learning.fit import fit
from core.learning.module import ContrastiveModule, rate_schedule

sys.path.insert(0, str(Path(__file__).parent))
from toy_training import Plain, Toy, digest, toy_batches

STEPS = 24


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(folder=None, module=None, **options):
    module = module or Toy()
    given = {"steps": STEPS, "seed": 3, "checkpoint_dir": folder, "every_n_steps": 5, "log_every": 4}
    return module, fit(module, options.pop("batches", toy_batches()), progress=False, **(given | options))


class Stop(Exception):
    pass


def stopped_at(step: int):
    def logger(record):
        if record["step"] == step:
            raise Stop

    return logger


def test_a_run_is_deterministic_and_does_not_depend_on_workers_or_the_state_before():
    first, result = train()
    torch.manual_seed(77)
    second, again = train(workers=1)
    assert digest(first) == digest(second)
    assert [r["loss"] for r in result.history] == [r["loss"] for r in again.history]
    assert digest(train(seed=4)[0]) != digest(first)


def test_the_history_averages_windows_and_carries_diagnostics():
    _, result = train(log_every=10)
    assert [record["step"] for record in result.history] == [10, 20, 24]
    expected = {
        "step",
        "seconds",
        "lr",
        "loss",
        "pull",
        "embedding_std",
        "effective_rank",
        "collapsed_fraction",
    }
    assert expected | {"uniformity", "alignment", "modality_gap"} == set(result.history[0])
    singles = train(log_every=1)[1].history
    assert result.history[0]["loss"] == pytest.approx(sum(r["loss"] for r in singles[:10]) / 10)
    assert result.seconds >= result.history[-1]["seconds"] > 0
    assert "uniformity" not in train(diagnostics=False)[1].history[0]


def test_terms_that_come_on_some_steps_are_averaged_over_those():
    class Sometimes(Steady):
        def terms(self, batch):
            found = super().terms(batch)
            if int(batch[0, 0]) % 2:
                found["odd"] = batch[0, 0]
            return found

    result = fit(
        Sometimes(), lambda step: torch.full((2, 2), float(step)), steps=4, log_every=4, progress=False
    )
    assert result.history[0]["odd"] == 2.0


@pytest.mark.parametrize("stop", [4, 12, 20])
def test_a_stopped_run_resumes_and_ends_bit_equal_with_the_whole_history(tmp_path, stop):
    whole, expected = train()
    with pytest.raises(Stop):
        train(tmp_path, logger=stopped_at(stop))
    module, result = train(tmp_path)
    assert result.resumed_from_step == (stop - 1) // 5 * 5  # it stopped before step `stop` was saved
    assert digest(module) == digest(whole)
    drop = {"seconds"}
    assert [{k: v for k, v in r.items() if k not in drop} for r in result.history] == [
        {k: v for k, v in r.items() if k not in drop} for r in expected.history
    ]


def test_a_finished_run_is_not_trained_again(tmp_path):
    module, first = train(tmp_path)
    calls = []
    again, result = train(tmp_path, batches=lambda step: calls.append(step))
    assert result.resumed_from_step == STEPS
    assert calls == []
    assert digest(again) == digest(module)
    assert result.history == first.history


def test_ctrl_c_stays_a_keyboard_interrupt_and_works_the_next_time(tmp_path):
    def logger(record):
        if record["step"] == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, logger=logger)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert train(tmp_path)[1].resumed_from_step == 5


def test_a_torn_newest_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    with pytest.raises(Stop):
        train(tmp_path, logger=stopped_at(20))
    newest = max(tmp_path.glob("*/step-*.ckpt"))
    assert newest.name == "step-00000015.ckpt"
    newest.write_bytes(newest.read_bytes()[:1000])
    module, result = train(tmp_path)
    assert result.resumed_from_step == 10
    assert "damaged" in capsys.readouterr().err
    assert digest(module) == digest(train()[0])


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"steps": 30}, {"fingerprint": "other data"}, {"precision": "bf16-mixed"}]
)
def test_checkpoints_of_another_run_are_not_taken_up(tmp_path, change):
    train(tmp_path)
    assert train(tmp_path, **change)[1].resumed_from_step == 0


def test_checkpoints_of_other_initial_weights_are_not_taken_up(tmp_path):
    train(tmp_path)
    module = Toy()
    module.net[0].weight.data[0, 0] += 1e-3
    assert train(tmp_path, module)[1].resumed_from_step == 0


def test_a_malicious_checkpoint_stops_the_run(tmp_path):
    import hashlib

    class Malicious:
        def __reduce__(self):
            return print, ("pwned",)

    train(tmp_path)
    path = next(tmp_path.glob("*/step-00000024.ckpt"))
    torch.save({"state_dict": Malicious()}, path)
    Path(f"{path}.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(CheckpointError, match="cannot be read safely"):
        train(tmp_path)


def test_a_second_run_on_the_same_folder_waits_for_the_first(tmp_path, capfd):
    entered, results = threading.Event(), []

    def slow(record):
        entered.set()
        time.sleep(0.3)

    first = threading.Thread(target=lambda: results.append(train(tmp_path, logger=slow, log_every=12)))
    first.start()
    assert entered.wait(30)
    module, result = train(tmp_path)
    first.join()
    assert "still works on the training" in capfd.readouterr().err
    assert result.resumed_from_step == STEPS
    assert digest(module) == digest(results[0][0])


def test_the_best_weights_come_back_also_after_a_stop(tmp_path):
    values = {6: 0.1, 12: 0.9, 18: 0.5, 24: 0.2}

    def validate(module, step):
        assert not module.training
        assert not torch.is_grad_enabled()
        torch.manual_seed(0)  # may draw what it likes
        return {"mrr": values[step]}

    options = {"validate": validate, "validate_every": 6, "keep_best": "mrr"}
    at_twelve: list[str] = []

    def snoop(module, step):
        if step == 12:
            at_twelve.append(digest(module))
        return validate(module, step)

    module, result = train(**(options | {"validate": snoop}))
    assert (result.best_step, result.best_value) == (12, 0.9)
    assert [digest(module)] == at_twelve
    assert [r["mrr"] for r in result.history if "mrr" in r] == list(values.values())
    with pytest.raises(Stop):
        train(tmp_path, logger=stopped_at(16), **options)
    resumed, result = train(tmp_path, **options)
    assert result.resumed_from_step == 15
    assert (digest(resumed), result.best_step) == (digest(module), 12)
    done, result = train(tmp_path, **options)
    assert (digest(done), result.best_step) == (digest(module), 12)


def test_validation_changes_nothing_in_the_training():
    plain = train()[0]
    assert digest(train(validate=lambda m, s: {"x": float(torch.rand(1))}, validate_every=5)[0]) == digest(
        plain
    )


def test_a_metric_that_validation_does_not_give_is_named():
    with pytest.raises(ConfigError, match=r"keep_best.*'mrr'.*\['x'\]"):
        train(validate=lambda m, s: {"x": 1.0}, keep_best="mrr")


class Steady(ContrastiveModule):
    def __init__(self, loss=None, **options) -> None:
        super().__init__(**options)
        self.layer = torch.nn.Linear(2, 2)
        self.fixed = loss

    def terms(self, batch):
        loss = self.layer(batch).square().mean()
        return {"loss": loss * self.fixed if self.fixed is not None else loss}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_the_step_and_leaves_no_checkpoint(tmp_path, bad):
    with pytest.raises(KindredError, match=r"the loss at step 4.*lower learning_rate"):
        fit(Steady(bad), lambda step: torch.ones(2, 2), steps=8, log_every=4, every_n_steps=4,
            checkpoint_dir=tmp_path, progress=False)  # fmt: skip
    assert not list(tmp_path.glob("*/*.ckpt"))


def test_bf16_autocast_trains_float32_weights():
    seen = []

    class Half(Steady):
        def terms(self, batch):
            seen.append(self.layer(batch).dtype)
            return super().terms(batch)

    module = Half()
    result = fit(
        module,
        lambda step: torch.ones(4, 2),
        steps=30,
        precision="bf16-mixed",
        gradient_clip=1.0,
        progress=False,
    )
    assert set(seen) == {torch.bfloat16}
    assert module.layer.weight.dtype == torch.float32
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_gradients_are_clipped():
    norms = []

    class Watched(Steady):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=1e-3)
            optimizer.register_step_post_hook(
                lambda *_: norms.append(
                    float(torch.nn.utils.get_total_norm(p.grad for p in self.parameters()))
                )
            )
            return optimizer

    fit(Watched(1e6), lambda step: torch.ones(2, 2), steps=2, gradient_clip=0.5, progress=False)
    assert norms == pytest.approx([0.5, 0.5], abs=1e-4)


def test_after_training_the_module_is_ready_for_use():
    module, _ = train()
    assert not any(part.training for part in module.modules())
    assert torch.equal(module.net(torch.ones(1, 4)), module.net(torch.ones(1, 4)))
    assert module.watched is None


def test_it_is_quiet_and_leaves_no_files(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train()
    out = capfd.readouterr()
    assert (out.out, out.err) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_the_bar_shows_steps_and_loss(capfd):
    fit(Steady(), lambda step: torch.ones(2, 2), steps=6, title="toy")
    err = capfd.readouterr().err
    assert "toy: 100%" in err
    assert "6/6" in err
    assert "loss=" in err


def test_a_collapse_under_a_falling_loss_is_told_once():
    class Collapsing(Steady):
        def terms(self, batch):
            z = self.layer(batch) * 0 + 1 + 1e-6 * batch
            self.watch(z, z)
            return {"loss": self.layer(batch).square().mean()}

    with pytest.warns(UserWarning, match="the loss falls .* while the embedding collapses") as caught:
        fit(Collapsing(learning_rate=0.05), lambda step: torch.rand(8, 2), steps=40, progress=False)
    assert len([w for w in caught if "collapses" in str(w.message)]) == 1


def test_only_matrices_are_decayed_and_frozen_parts_are_left_out():
    module = Toy()
    module.net[3].requires_grad_(False)
    matrices, rest = module.parameter_groups()
    assert [p.shape for p in matrices["params"]] == [(8, 4)]
    assert rest["weight_decay"] == 0
    module.requires_grad_(False)
    with pytest.raises(KindredError, match="no parameter to train"):
        module.parameter_groups()


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_rates_rise_then_fall(schedule):
    rate = rate_schedule(schedule, 100, warmup=0.1)
    values = [rate(step) for step in range(101)]
    assert values[0] == 0.1
    assert max(values) == 1.0
    assert values[:10] == sorted(values[:10])
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[100] == pytest.approx(1.0 if schedule == "constant" else 0.0)


def test_the_rate_in_the_history_follows_the_schedule():
    _, result = train(log_every=1)
    rate = rate_schedule("cosine", STEPS, 0.1)
    assert [r["lr"] for r in result.history] == pytest.approx([0.01 * rate(i + 1) for i in range(STEPS)])


def test_state_changed_after_the_checkpoint_is_written_is_refused():
    with pytest.raises(TypeError, match=r"change state inside terms\(\)"):

        class Late(ContrastiveModule):
            def on_train_batch_end(self, *args):
                pass


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 0}, "steps"),
        ({"precision": "bf16"}, "precision"),
        ({"strategy": "fsdp"}, "strategy"),
        ({"devices": 2, "batches": lambda step: None}, "batches with shard"),
    ],
)
def test_wrong_arguments_are_explained(options, told):
    with pytest.raises(ConfigError, match=told):
        train(**options)


@pytest.mark.parametrize(
    "options", [{"learning_rate": 0}, {"weight_decay": -1}, {"warmup": 1.0}, {"schedule": "step"}]
)
def test_wrong_optimization_is_explained(options):
    with pytest.raises(ConfigError):
        Steady(**options)


def test_a_module_without_terms_says_so():
    with pytest.raises(NotImplementedError, match="must define terms"):
        ContrastiveModule().terms(None)


def test_checkpoints_that_could_not_be_read_back_are_refused_at_once(tmp_path):
    class Careless(Steady):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["root"] = Path("/data")

    with pytest.raises(CheckpointError, match="entry root"):
        fit(Careless(), lambda step: torch.ones(2, 2), steps=4, checkpoint_dir=tmp_path, progress=False)


def test_the_callback_refuses_only_numbers_that_are_none():
    callbacks.refuse_non_finite(1e30, 1)
    with pytest.raises(KindredError, match="step 7"):
        callbacks.refuse_non_finite(float("-inf"), 7)


def test_the_step_is_in_the_name_of_a_checkpoint(tmp_path):
    train(tmp_path)
    found = sorted(tmp_path.glob("*/*.ckpt"))
    assert found == [checkpoint_path(found[0].parent, 20), checkpoint_path(found[0].parent, 24)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_again_and_again_it_ends_bit_equal(tmp_path):
    script = Path(__file__).with_name("kill_script.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "60", "0.05", "5"],
        capture_output=True,
        text=True,
        check=True,
    )
    killed = [line for line in done.stdout.splitlines() if line.endswith("status 9")]
    last = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("digest"))
    assert len(killed) >= 3, done.stdout
    whole = Toy()
    fit(whole, toy_batches(), steps=60, seed=3, progress=False)
    _, found, _, resumed, _, records = last.split()
    assert int(resumed) > 0
    assert found == digest(whole)
    assert int(records) == 6


def run_processes(folder: Path, strategy: str, *stops: int) -> list[str]:
    script = Path(__file__).with_name("process_script.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), strategy, *map(str, stops)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.slow
def test_two_processes_equal_one_on_the_same_batches_twice_and_only_the_first_goes_on(tmp_path):
    lines = run_processes(tmp_path, "ddp", 0, 0)
    assert len(lines) == 2
    assert lines[0] == lines[1]
    _, weights, _, resumed, _, records = lines[0].split()
    alone = Plain()
    fit(alone, toy_batches(), steps=12, seed=3, log_every=1, progress=False)
    found = torch.tensor([float(x) for x in weights.split(",")])
    torch.testing.assert_close(found, alone.layer.weight.detach().flatten(), rtol=0, atol=1e-6)
    assert (resumed, records) == ("0", "12")


@pytest.mark.slow
def test_two_forked_processes_resume_bit_equal(tmp_path):
    whole, stopped, resumed = run_processes(tmp_path, "ddp_fork", 0, 7, 0)
    assert stopped == "stopped"
    assert resumed.split()[1] == whole.split()[1]
    assert resumed.split()[3:] == ["6", "records", "12"]
