"""Comparison of label smoothing, mixup and a running mean of the weights with plain fine-tuning.

    gtn compare training_aids --methods finetune smoothing mixup mean both --workdir runs/aids

The quickstart's experiment; results are in docs/training.md.
"""

from gtn_jax.analysis.methods import METHODS, Method
from gtn_jax.config.experiment import load_experiment

SMOOTHING = {"training.label_smoothing": 0.1}
MIXUP = {"training.mixup_alpha": 0.2}
MEAN = {"training.ema_decay": 0.98}  # about 50 steps; 8 per epoch

METHODS["smoothing"] = Method("fine-tuning with smoothed labels", changes=SMOOTHING)
METHODS["mixup"] = Method("fine-tuning on mixed images", changes=MIXUP)
METHODS["mean"] = Method("fine-tuning, evaluated with the mean of its weights", changes=MEAN)
METHODS["both"] = Method("smoothed labels and the mean of the weights", changes=SMOOTHING | MEAN)

CONFIG = load_experiment("quickstart")
