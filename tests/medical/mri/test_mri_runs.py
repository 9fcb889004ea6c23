"""Which fine-tuning runs there are, and which of them is served."""

import numpy as np

from medical.mri.learn.train import finetune, fresh_unet, labelled_choice, self_train
from medical.mri.predict import predict_labels
from medical.mri.runs import Run, planned_runs, read_runs, served_run, write_runs

QUIET = {"progress": False, "diagnostics": False, "threads": 1}


def test_extras_follow_what_they_start_from():
    runs = planned_runs([2, 1, 2], ["self_training", "mixup", "mixup"])
    assert runs[:4] == [("pretrained", 1), ("random", 1), ("pretrained", 2), ("random", 2)]
    assert runs[4:] == [("self_training", 1), ("self_training", 2), ("mixup", 1)]


def test_served_is_the_best_on_validation_among_the_most_labels():
    def chosen(**values):
        runs = [
            Run("pretrained", 1, valid_dice=0.9),
            *(Run(init, 2, valid_dice=v) for init, v in values.items()),
        ]
        return served_run(runs).name

    assert chosen(pretrained=0.6, random=0.8, self_training=0.7) == "self_training-2"
    assert chosen(pretrained=0.7, random=0.8, self_training=0.7) == "pretrained-2"
    assert chosen(pretrained=None, random=None, self_training=None) == "pretrained-2"


def test_the_list_of_runs_is_read_as_it_was_written(tmp_path):
    runs = [Run("self_training", 2, ("a", "b"), ({"step": 4, "valid_dice": 0.5},), 4, 0.5), Run("random", 1)]
    write_runs(tmp_path / "runs.json", runs)
    assert read_runs(tmp_path / "runs.json") == runs


def test_each_round_of_self_training_learns_the_answers_of_the_one_before(
    prepared, architecture, monkeypatch
):
    """A second round must not see the masks of the first, nor any mask of an unlabelled volume."""
    from medical.mri.learn import train

    chosen = labelled_choice(prepared, 1, 0)
    rest = [number for number in prepared.volumes("train") if number not in chosen]
    net = fresh_unet(architecture, 0)
    options = {"steps": 3, "batch_size": 4, "validate_every": 3, "learning_rate": 0.01, **QUIET}
    finetune(net, prepared, chosen, **options)
    seen = []

    def watched(net, known, members, **settings):
        answers = [predict_labels(net.eval(), known.images[known.slices(one)]) for one in rest]
        assert all(
            np.array_equal(known.labels[known.slices(one)], a) for one, a in zip(rest, answers, strict=True)
        )
        assert np.array_equal(
            known.labels[known.slices(chosen[0])], prepared.labels[prepared.slices(chosen[0])]
        )
        seen.append((np.array(known.labels), settings["seed"]))
        return finetune(net, known, members, **settings)

    monkeypatch.setattr(train, "finetune", watched)
    before = np.array(prepared.labels)
    assert len(self_train(net, prepared, chosen, rest, rounds=2, **options)) == 2
    assert not np.array_equal(seen[0][0], seen[1][0])
    assert seen[0][1] != seen[1][1]
    assert np.array_equal(prepared.labels, before)
