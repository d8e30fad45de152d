"""Small changes to the package, one at a time, each of which a fast test has to notice.

    python tests/faults/mutations.py [--only SUBSTRING]

Works on a copy of the tree. There the named tests pass as long as nothing is changed; then each
change is made by itself, they run, and at least one has to fail. Ends with 1 if none does, or if
the text to be changed does not stand exactly once in its file.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COPIED = ("gtn_jax", "tests", "experiments", "pyproject.toml")


BUILD, LOOP = "training/setup.py", "training/loop.py"
FIELDS, RUN = "training/test_fields.py::test_", "training/test_loop_numbers.py"
FROZEN = "training.frozen_batch_norm if frozen else training.batch_norm"
SMALL = "data.small_image_size if small else data.image_size"
HIDDEN, UNBIASED = "width // self.reduction", "added * (count / (count - 1))"

# Below tests/: what should fail; and after (file below gtn_jax/, text, text in its place).
MUTATIONS = {
    # A field that does not reach the programs, or not all of them.
    FIELDS + "update": (
        (BUILD, "section.momentum,", "0.9,"),
        (BUILD, "section.weight_decay,", "1e-4,"),
        (BUILD, "section.l2_sp,", "0.0,"),
        (BUILD, "section.name,", '"sgd",'),
        (BUILD, 'section.decayed == "all" or', "True or"),
    ),
    FIELDS + "a_share_of_the_start_and_running_statistics": (
        (BUILD, FROZEN, "training.frozen_batch_norm if frozen else 'batch'"),
        (BUILD, "training.ema_decay, training.start_share)", "training.ema_decay, 0.5)"),
        ("training/averaging.py", "b + (1 - start_share) * (v - w)", "b + start_share * (v - w)"),
    ),
    FIELDS + "answers_for_an_image_and_its_mirror_image": (
        ("training/forward_steps.py", "jax.nn.logsumexp(logs, axis=1)",
         "logs[:, 0]"),
        (BUILD, "make_forward(model, transform, config.data.mirror_evaluation)",
         "make_forward(model, transform)"),
    ),
    FIELDS + "first_stages_stand_still": (
        ("training/optimizer.py", "if frozen_stages:", "if False:"),
    ),
    FIELDS + "batch_norm_alone_and_a_running_mean": (
        ("training/optimizer.py", 'if trainable == "batch_norm":', "if False:"),
        (BUILD, "with_average(step, training.ema_decay,", "with_average(step, 0.0,"),
    ),
    FIELDS + "rate_of_the_backbone_at_steps_of_ten_an_epoch": (
        (BUILD, "section.schedule,", '"cosine",'),
        (BUILD, "training.epoch_count,", "training.epoch_count - 1,"),
        (BUILD, "section.warmup_epochs,", "0.0,"),
        (BUILD, "section.warmup_share,", "0.0,"),
        (BUILD, "section.full_rate_steps,", "0,"),
        (BUILD, "training.steps,", "None,"),
        (BUILD, "section.boundaries_epochs,", "(41, 81),"),
        (BUILD, "section.decay_factor,", "0.1,"),
        (BUILD, "training.freeze_epochs * steps_per_epoch", "0"),
    ),
    FIELDS + "a_frozen_backbone_stands_still": (
        (BUILD, FROZEN, "training.batch_norm"),
        (BUILD, 'frozen and training.freeze_mode == "no_grad"', "False"),
    ),
    FIELDS + "a_frozen_backbone_the_authors_way": (
        ("training/steps.py", 'key, batch_norm == "running")', "key, True)"),
        (BUILD, 'frozen and training.freeze_mode == "no_grad"', "frozen"),
    ),
    FIELDS + "smoothed_labels_in_two_micro_batches": (
        (BUILD, "=training.label_smoothing,", "=0.0,"),
        (BUILD, "None if parts == 1 else config.data.batch_size // parts", "None"),
    ),
    FIELDS + "mixed_images_are_asked_for_both_labels": (
        (BUILD, "=training.mixup_alpha,", "=0.0,"),
    ),
    FIELDS + "cached_features_of_a_frozen_backbone_have_the_loss_of_its_images": (
        (BUILD, "gtn_loss(config.model.aux_weight)", "gtn_loss(0.2)"),
    ),
    FIELDS + "gate_and_classifier_drop_each_at_its_own_rate": (
        (BUILD, "classifier_dropout=section.classifier_dropout", "classifier_dropout=0.0"),
        ("models/gtn.py", "dropout=model.gate_dropout", "dropout=model.classifier_dropout"),
    ),
    FIELDS + "mirrored_and_shifted": (
        (BUILD, "bool(data.random_flip)", "False"),
        (BUILD, "data.random_shift_pixels", "0"),
    ),
    FIELDS + "random_crops_of_the_size_that_the_model_sees": (
        (BUILD, "data.random_resized_crop,", "False,"),
        (BUILD, "data.crop_min_area", "0.08"),
    ),
    FIELDS + "short_side_before_the_square_is_cut_out": (
        ("data/images.py", "data.image_size if training else data.evaluation_size",
         "data.image_size"),
    ),
    "inference/test_portable.py::test_folder_without_this_package": (
        ("inference/predict.py", "image_size=data.evaluation_size", "image_size=data.image_size"),
    ),
    FIELDS + "small_images": (
        (BUILD, SMALL, "data.image_size"),
        ("data/augment.py", 'shape, "linear")', 'shape, "nearest")'),
    ),
    FIELDS + "maps_in_bfloat16": (
        (BUILD, "jnp.dtype(section.compute_dtype)", "jnp.dtype(jnp.float32)"),
    ),
    FIELDS + "blocks_are_computed_twice": (
        (BUILD, 'config.training.remat == "blocks"', "False"),
    ),
    FIELDS + "unbiased_running_variance": (
        (BUILD, "=section.torch_running_variance", "=False"),
        ("models/layers.py", UNBIASED, "added"),
    ),
    FIELDS + "network_of_an_evaluation": (
        (BUILD, "gate_reduction=section.gate_reduction", "gate_reduction=16"),
        (BUILD, "stages=section.stages", "stages=None"),
        ("models/gate.py", HIDDEN, "-(-width // self.reduction)"),
    ),
    # A run, step by step; what it goes on with, and ends with.
    RUN: (
        (BUILD, FROZEN, "training.batch_norm"),
        (BUILD, "training.epoch_count,", "training.epoch_count - 1,"),
        (LOOP, "epoch < training.freeze_epochs", "epoch <= training.freeze_epochs"),
        (LOOP, "epoch < config.data.small_image_epochs", "False"),
        (LOOP, "            self.folder.sync()\n", ""),
        (LOOP, 'start.position["images"] if start.position else 0', "0"),
        ("training/start.py", 'position["seconds"].items()', "()"),
        ("training/setup.py", "config.optimizer.rates", "(0.08, 0.08)"),
        ("training/selection.py", "if selected != step:", "if False:"),
    ),
    # The network, its images and weights.
    "models/test_gtn.py": (
        ("models/heads.py", "jnp.mean(feature_map.astype(jnp.float32), axis=(1, 2))",
         "jnp.mean(feature_map, axis=(1, 2)).astype(jnp.float32)"),
    ),
    "models/test_gate.py": (("models/gate.py", HIDDEN, "-(-width // self.reduction)"),),
    "models/test_layers.py": (("models/layers.py", UNBIASED, "added"),),
    "data/test_augment.py": (
        ("data/augment.py", "bernoulli(key, shape=", "bernoulli(key, 0.55, shape="),
        ("data/augment.py", 'shape, "linear")', 'shape, "nearest")'),
    ),
    "weights/test_restore_batch_norm.py::test_a_channel_that_is_always_zero": (
        ("weights/restore_batch_norm.py", "np.sqrt(variance + EPSILON)", "np.sqrt(variance)"),
    ),
    # What is on the disk, and when.
    "runs/test_step_folders.py": (
        ("runs/digests.py", "os.fsync(file.fileno())", "pass"),
        ("runs/manifest.py", "sync(Path(path))", "pass"),
        ("runs/step_folders.py", "        files.force(here)\n", ""),
    ),
    "runs/test_manifest.py": (("runs/manifest.py", " or not _has_types(manifest)", ""),),
    "runs/test_digests.py": (
        ("runs/digests.py", "difference(name, of_bytes(content), wanted)", "None"),
    ),
    "config/test_migration.py": (
        ("config/migration.py", "migrations.added.items() if name in known", "()"),
        ("config/migration.py", "if value != neutral:", "if False:"),
    ),
    "training/test_head_start.py": (
        ("training/head_start.py", "variables, train, True,", "variables, train, False,"),
        ("training/head_start.py", "num_classes, strengths, False)", "num_classes, strengths)"),
        ("training/start.py", "folder.rewind(-1 if step is None else step)",
         "folder.rewind(step or 0)"),
        ("training/selection.py", "step if best is None else best", "best or step"),
    ),
    "training/test_resolution.py": (
        ("training/resolution.py", "or step == total_steps", ""),
        ("training/resolution.py", "training.eval_every_steps or length", "length"),
    ),
    "training/test_score.py": (
        ("training/score.py", "< few", "<= few"),
        ("training/score.py", 'best["accuracy"] - error', 'best["accuracy"]'),
    ),
    "training/test_selection.py": (
        ("training/selection.py", "step == setup.total_steps", "True"),
        ("training/selection.py", "start.head is not None", "True"),
        ("training/selection.py", 'by_step[0]["accuracy"]', "0.0"),
    ),
    "training/test_head_solver.py": (
        ("training/head_solver.py", "accuracies >= lowest", "accuracies >= accuracies.max()"),
    ),
    "runs/test_lock.py": (("runs/lock.py", "if lease.owner is not None:", "if True:"),),
    # What is said of runs.
    "analysis/test_gates.py": (
        ("analysis/gates.py", "gate[np.random.default_rng(0).permutation(len(gate))]", "gate"),
    ),
    "analysis/test_tuning.py": (
        ("analysis/tuning.py", 'statistics.mean(row["accuracy"]', 'max(row["accuracy"]'),
        ("analysis/tuning.py", "< len(tried) * len(seeds)", "< len(tried)"),
        ("analysis/tuning.py", "place not in tried", "place"),
    ),
    "analysis/test_compare.py": (
        ("analysis/compare.py", "resolve(config, *size) if here is None else adopt(config, here)",
         "resolve(config, *size)"),
    ),
    "analysis/test_comparison_table.py": (
        ("analysis/comparison_table.py",
         " or not np.array_equal(ours.files, theirs.files)", ""),
    ),
}  # fmt: skip


def fails(folder: Path, tests: str) -> bool:
    """Whether one of these tests fails in this tree."""
    fast = "not slow and not faults and not release"
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-m", fast]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [*words, "-p", "no:cacheprovider", f"tests/{tests}"],
        cwd=folder, env=env, capture_output=True, text=True,
    )  # fmt: skip
    # Neither "passed" nor "a test failed", e.g. no such test: that would prove nothing.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 1


def main() -> int:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description="Changes that tests have to notice.")
    parser.add_argument("--only", default="", help="changes with this in their test, file or text")
    only = parser.parse_args().only
    chosen = [
        (tests, *change)
        for tests, changes in MUTATIONS.items()
        for change in changes
        if only in " ".join((tests, *change))
    ]
    started, unnoticed = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="gtn-mutations-") as temporary:
        folder = Path(temporary)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        for tests in dict.fromkeys(tests.partition("::")[0] for tests, *_ in chosen):
            assert not fails(folder, tests), f"tests/{tests} fails without any change"
        for tests, file, old, new in chosen:
            path = folder / "gtn_jax" / file
            text = path.read_text()
            path.write_text(text.replace(old, new))
            if text.count(old) != 1:
                found = "NOT FOUND ONCE"
            else:
                found = "killed" if fails(folder, tests) else "SURVIVED"
            path.write_text(text)
            unnoticed += found != "killed"
            print(f"{found:<9} {file}: {old.strip()} -> {new or 'nothing'}", flush=True)
            print(f"          by {tests}", flush=True)
    minutes = (time.monotonic() - started) / 60
    print(f"{len(chosen)} changes, {unnoticed} not noticed; {minutes:.1f} minutes")
    return 1 if unnoticed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
