"""scikit-learn's own callbacks see every stage and epoch."""

import pickle

import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from small_estimators import small

from sk_cpep import InstanceNorm, PoseT

pytest.importorskip(
    "sklearn.callback", reason="scikit-learn has callbacks from version 1.9 on"
)


class Record:
    """Keeps the path of every task: from the outermost to itself."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended, self.stopped_at = [], [], None

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(path_of(context))

    def on_fit_task_end(self, estimator, context):
        self.ended.append(path_of(context))
        return self.ended[-1][-2:] == self.stopped_at

    def teardown(self, estimator, context):
        pass


def path_of(context):
    path = []
    while context is not None:
        path.insert(0, name_of(context))
        context = context.parent
    return tuple(path)


def name_of(context):
    """A merged task has two names, one of each estimator."""
    inner = f"{context.estimator_name}.{context.task_name}"
    if context.source_task_name is None:
        return inner
    return f"{context.source_estimator_name}.{context.source_task_name}={inner}"


EMG = "CPEP.emg_encoder=MAE.fit"
POSE = "CPEP.pose_encoder=MAE.fit"
ALIGNMENT = "CPEP.alignment"


def epochs(record, stage, of="begun"):
    return [p for p in getattr(record, of) if len(p) > 1 and p[-2] == stage]


def test_stages_and_epochs(windows, small_cpep):
    record = Record()
    small_cpep(max_epochs=3).set_callbacks(record).fit(*windows[:2])
    root = ("CPEP.fit",)
    expected = [root]
    for stage, epoch, n in (
        (EMG, "MAE.epoch", 2),
        (POSE, "MAE.epoch", 2),
        (ALIGNMENT, "CPEP.epoch", 3),
    ):
        expected += [(*root, stage)] + [(*root, stage, epoch)] * n
    assert record.begun == expected
    assert sorted(record.ended) == sorted(expected)


def test_a_mae_alone(windows, small_mae):
    record = Record()
    mae = small_mae().set_callbacks(record).fit(windows[0])
    epoch = ("MAE.fit", "MAE.epoch")
    assert record.begun == [("MAE.fit",), epoch, epoch]
    assert record.ended == [epoch, epoch, ("MAE.fit",)]
    assert mae.n_iter_ == 2


def test_a_pose_regressor(windows):
    record = Record()
    sizes = dict(patch_length=5, d_model=8, n_layers=1, n_heads=2, device="cpu")
    PoseT(max_epochs=2, **sizes).set_callbacks(record).fit(*windows[:2])
    epoch = ("PoseT.fit", "PoseT.epoch")
    assert record.begun == [("PoseT.fit",), epoch, epoch]
    assert record.ended == [epoch, epoch, ("PoseT.fit",)]


def test_a_classifier(windows):
    record = Record()
    classifier = small("EncoderClassifier").set_callbacks(record)
    classifier.fit(windows[0], windows[2])
    epoch = ("EncoderClassifier.fit", "EncoderClassifier.epoch")
    assert record.begun == [("EncoderClassifier.fit",), epoch, epoch]
    assert record.ended == [epoch, epoch, ("EncoderClassifier.fit",)]


def test_nested_down_to_the_epoch(windows, small_cpep):
    record = Record()
    pipe = Pipeline([("norm", InstanceNorm()), ("cpep", small_cpep())])
    search = GridSearchCV(pipe, {"cpep__temperature": [0.02, 0.5]}, cv=2)
    search.set_callbacks(record).fit(*windows[:2])
    for stage in (EMG, POSE, ALIGNMENT):
        paths = epochs(record, stage)
        assert len(paths) == (2 * 2 + 1) * 2
        for path in paths:
            names = " > ".join(path)
            places = [
                names.index(s) for s in ("GridSearchCV", "Pipeline", "CPEP", "epoch")
            ]
            assert places == sorted(places)
    assert sorted(record.begun) == sorted(record.ended)


@pytest.mark.parametrize("stage", [EMG, POSE, ALIGNMENT])
def test_a_callback_may_stop_a_stage(windows, small_cpep, small_mae, stage):
    record = Record()
    record.stopped_at = (stage, f"{'CPEP' if stage == ALIGNMENT else 'MAE'}.epoch")
    cpep = small_cpep(small_mae(max_epochs=4), small_mae(4, max_epochs=4), max_epochs=4)
    cpep.set_callbacks(record).fit(*windows[:2])
    for each in (EMG, POSE, ALIGNMENT):
        assert len(epochs(record, each)) == (1 if each == stage else 4)
    lengths = [len(history) for history in cpep.history_.values()]
    assert lengths == [1 if each == stage else 4 for each in (EMG, POSE, ALIGNMENT)]
    assert cpep.transform(windows[0]).shape == (20, 8)


def test_skipped_stages_are_no_tasks(windows, small_cpep):
    record = Record()
    cpep = small_cpep(emg_init="random").set_callbacks(record)
    cpep.fit(*windows[:2])
    assert epochs(record, EMG) == []
    assert len(epochs(record, POSE)) == 2


def test_fitted_with_a_callback_it_still_pickles(windows, small_cpep):
    X, P = windows[:2]
    cpep = small_cpep().set_callbacks(Record()).fit(X, P)
    loaded = pickle.loads(pickle.dumps(cpep))
    assert (loaded.transform(X) == cpep.transform(X)).all()


def test_progress_bar(windows, small_cpep, capsys, monkeypatch):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    monkeypatch.setenv("COLUMNS", "200")  # names are cut to the width

    pipe = Pipeline([("norm", InstanceNorm()), ("cpep", small_cpep())])
    pipe.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(*windows[:2])
    captured = capsys.readouterr()
    for name in ("Pipeline", "CPEP", "alignment", "emg_encoder", "pose_encoder"):
        assert name in captured.out + captured.err
