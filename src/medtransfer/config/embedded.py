"""The default configuration: the embedded study, which needs no download."""

from medtransfer.config.figures import ALL_FIGURES
from medtransfer.config.representation import RepresentationSettings
from medtransfer.config.study import Config, GridSettings, StudySettings

DEFAULT = Config(
    studies={
        "embedded": StudySettings(
            title="Does pre-training on fractals help on synthetic phantoms?",
            question=(
                "Two small networks start at random, from weights pre-trained on fractals, or from "
                "those weights' statistics alone, and learn two synthetic tasks from all or from "
                "about 100 of the training images. On one of the tasks only the first one, two or "
                "three units keep the weights. Nothing here is clinical."
            ),
            grids=(
                GridSettings(
                    recipe="embedded",
                    datasets=("phantom_chest", "phantom_fundus"),
                    models=("cbr_micro", "vit_micro"),
                    inits=("random", "fractal-stats", "fractal"),
                    subsets=("full", "n100"),
                    splits=("holdout",),
                    seeds=(0, 1, 2),
                ),
                GridSettings(
                    recipe="embedded",
                    datasets=("phantom_fundus",),
                    models=("cbr_micro", "vit_micro"),
                    inits=("fractal-upto1-stats", "fractal-upto2-stats", "fractal-upto3-stats"),
                    subsets=("n100",),
                    splits=("holdout",),
                    seeds=(0, 1, 2),
                ),
            ),
            figures=ALL_FIGURES,
            corruptions=("noise", "jpeg"),
            representation=RepresentationSettings(
                datasets=("phantom_fundus",),
                inits=("random", "fractal-stats", "fractal"),
                subsets=("full",),
                seeds=(0, 1),
            ),
        )
    }
)
