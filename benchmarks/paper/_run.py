"""Train a method on a fold and evaluate it."""

import numpy as np
from sklearn.frozen import FrozenEstimator

import sk_cpep.encoders
from sk_cpep.encoders import CPEP, MAE, EncoderClassifier
from sk_cpep.evaluation import (
    Method,
    converged,
    evaluate_methods,
    generalised_zero_shot,
    linear_classifiers,
    mean_pose,
    pose_regression,
    zero_shot,
)

from ._data import GESTURE_SETS
from ._methods import settled
from ._store import digest

_N_SPREAD = 512  # windows whose embeddings are looked at for a collapse


class Cell:
    """A method on one fold of people with one seed.

    Parameters
    ----------
    method : Method

    fold : Fold

    config : PaperConfig

    seed : int

    store : Store

    common : dict
        `device` and `verbose` of the estimators.

    hand_model : path, default=None
        For the loss and the distances of fingertips.
    """

    def __init__(self, method, fold, config, seed, store, common, hand_model=None):
        self.method, self.fold, self.config = method, fold, config
        self.seed, self.store, self.hand_model = seed, store, hand_model
        self.common = common | {"random_state": seed}
        self.sizes = {}  # of a regressor at the rate of these data, to be printed

    @property
    def key(self):
        """Name of the cell in the store."""
        return f"{self.fold.name}-{self.seed}-{self.method.kind}-{self.method.key}"

    def run(self):
        """What has been found: kept as soon as it is, and only read if it is kept."""
        found = self.store.cell(self.key)
        if found is None:
            found = {"records": self._records(), "fold": self.fold.name}
            found |= {"seed": self.seed, "sizes": self.sizes}
            self.store.keep_cell(self.key, found)
        return found

    def _records(self):
        runs = {
            "amplitude": self._run_amplitude,
            "bins": self._run_bins,
            "supervised": self._run_supervised,
            "mae": self._run_mae,
            "pose_mae": self._run_pose_mae,
            "regressor": self._run_regressor,
            "cpep": self._run_cpep,
        }
        try:
            return runs[self.method.kind]()
        except ValueError as error:
            if "Training diverged" not in str(error):
                raise
            return [{"converged": False, "reason": str(error)}]

    def _run_amplitude(self):
        mean_pose_of = mean_pose(self.fold.pretrain.P)
        records = self._probes(mean_of_bins)
        return records + self._pose_errors(mean_pose_of, "Static (mean pose)")

    def _run_bins(self):
        return self._probes(lambda windows: windows.features)

    def _run_supervised(self):
        classifier = EncoderClassifier(
            MAE(**self.method.emg), **self.method.params, **self.common
        )
        methods = {"precomputed": Method(classifier=classifier)}
        return evaluate_methods(self.fold, {}, methods)

    def _run_mae(self):
        mae = self._mae("emg")
        verdict = judge(mae.history_, embeddings=mae.transform(self._some("X")))
        return judged(self._probes(lambda w: mae.transform(w.X)), verdict)

    def _run_pose_mae(self):
        mae = self._mae("pose")
        verdict = judge(mae.history_, embeddings=mae.transform(self._some("P")))
        records = self._probes(lambda windows: mae.transform(windows.P))
        records += self._zero_shots(mae.transform, mae.transform, "P")
        return judged(records, verdict)

    def _run_regressor(self):
        regressor, pose_mae = self._regressor(), self._mae("pose")
        self.sizes = {"parameters": regressor.n_parameters_} | plain(regressor.sizes_)
        verdict = judge(
            regressor.history_, embeddings=regressor.transform(self._some("X"))
        )
        records = self._probes(lambda windows: regressor.transform(windows.X))
        records += self._zero_shots(
            lambda X: pose_mae.transform(regressor.predict(X)), pose_mae.transform, "X"
        )
        return judged(records + self._pose_errors(regressor, None), verdict)

    def _run_cpep(self):
        cpep = self._cpep()
        some = cpep.transform(self._some("X"))
        verdict = judge(
            cpep.history_["alignment"],
            trivial_loss=self._trivial_loss(),
            embeddings={"EMG": some, "pose": cpep.transform_pose(self._some("P"))},
        )
        records = self._zero_shots(cpep.transform, cpep.transform_pose, "X")
        records += self._generalised(cpep)
        cpep.set_params(embedding=self.config.probe_embedding)
        probes = self._probes(lambda windows: cpep.transform(windows.X))
        return judged(probes + records, verdict)

    def _trivial_loss(self):
        """Contrastive loss of an encoder to which all of a batch look alike."""
        return float(np.log(min(self._batch_size(), len(self.fold.pretrain))))

    def _batch_size(self):
        return self.method.alignment.get("batch_size", CPEP().batch_size)

    def _mae(self, modality):
        """The fitted autoencoder of one modality, shared by all that start from it."""
        params = getattr(self.method, modality)
        windows = self.fold.pretrain.X if modality == "emg" else self.fold.pretrain.P
        return self._stage(
            f"{modality}-mae",
            settled(params),
            lambda: MAE(**params, **self.common).fit(windows),
        )

    def _cpep(self):
        """Fitted CPEP, from the autoencoders that it starts from."""
        method, stage = self.method, self.fold.pretrain

        def start(modality):
            if method.alignment.get(f"{modality}_init", "pretrained") == "random":
                return MAE(**getattr(method, modality), **self.common)
            return FrozenEstimator(self._mae(modality))

        def fit():
            cpep = CPEP(start("emg"), start("pose"), **method.alignment, **self.common)
            groups = stage.users if self.config.batches_of_one_person else None
            return cpep.fit(stage.X, stage.P, groups=groups)

        return self._stage("cpep", method.key, fit)

    def _regressor(self):
        name, stage = self.method.regressor, self.fold.pretrain
        params = self.method.params
        if name != "PoseT":
            rate = {"sfreq": self.fold.sfreq}
            params = params | rate | {"hand_model": self.hand_model}

        def fit():
            regressor = getattr(sk_cpep.encoders, name)(**params, **self.common)
            return regressor.fit(stage.X, stage.P, groups=stage.users)

        return self._stage(name, params, fit)

    def _stage(self, name, params, fit):
        name = f"{self.fold.name}-{self.seed}-{name}"
        return self.store.stage(name, digest(params), fit)

    def _some(self, modality):
        """A few windows of people held out."""
        test = self.fold.test["in_distribution"]
        rows = np.linspace(0, len(test) - 1, min(_N_SPREAD, len(test))).astype(int)
        return getattr(test.select(rows), modality)

    def _probes(self, embed):
        """Linear probes of both gesture sets, on what is made of windows."""
        methods = {"precomputed": Method(probe=lambda _, windows: embed(windows))}
        return evaluate_methods(
            self.fold,
            {},
            methods,
            n_people=self.config.n_people,
            n_draws=self.config.n_draws,
            classifiers=linear_classifiers(),
            random_state=self.seed,
        )

    def _generalised(self, cpep):
        """Zero-shot with all gestures in the gallery, without and with a penalty."""
        poses, queries = (
            tuple(np.concatenate(column) for column in zip(*sets, strict=True))
            for sets in (
                [
                    (cpep.transform_pose(w.P), w.y, w.users)
                    for w in (
                        self.fold.galleries[kind][0].windows for kind in GESTURE_SETS
                    )
                ],
                [
                    (cpep.transform(w.X), w.y, w.users)
                    for w in (self.fold.test[kind] for kind in GESTURE_SETS)
                ],
            )
        )
        seen = np.unique(self.fold.test["in_distribution"].y)
        return [
            record
            for penalty in sorted({0.0, self.config.seen_penalty})
            for record in generalised_zero_shot(
                None,
                poses,
                queries,
                seen=seen,
                n_neighbors=self.config.n_neighbors,
                seen_penalty=penalty,
            )
        ]

    def _zero_shots(self, embed, embed_pose, modality):
        """Zero-shot of both gesture sets, in each gallery."""
        records = []
        for kind in GESTURE_SETS:
            test = self.fold.test[kind]
            queries = embed(getattr(test, modality)), test.y, test.users
            for gallery in self.fold.galleries[kind]:
                poses = gallery.windows
                record = zero_shot(
                    None,
                    (embed_pose(poses.P), poses.y, poses.users),
                    queries,
                    n_neighbors=self.config.n_neighbors,
                    gestures=kind,
                    **gallery.settings,
                )
                records.append(record | {"gallery": gallery.name})
        return records

    def _pose_errors(self, estimator, name):
        """The baselines' own task: the pose of people, and of stages, held out."""
        hand = self.hand_model and sk_cpep.encoders.load_hand_model(self.hand_model)
        return [
            pose_regression(
                estimator,
                (windows.X, windows.P, windows.users),
                method=name,
                generalization=kind,
                unit=self.fold.pose_unit,
                hand_model=hand,
            )
            for kind, windows in self.fold.poses.items()
        ]


def mean_of_bins(windows):
    """The same features, averaged over the bins: (n, n_channels)."""
    n = len(windows.features)
    return windows.features.reshape(n, windows.X.shape[1], -1).mean(axis=2)


def judge(history, *, embeddings, **how):
    """Verdict on a training; an error where there is nothing to evaluate."""
    several = embeddings if isinstance(embeddings, dict) else {"its": embeddings}
    for name, Z in several.items():
        if not np.isfinite(Z).all():
            raise ValueError(f"Training diverged: {name} embeddings are not finite.")
    return converged(history, embeddings=embeddings, **how)


def judged(records, verdict):
    """Records that say whether the training converged."""
    return [record | verdict for record in records]


def plain(sizes):
    """Sizes as JSON has them."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in sizes.items()}
