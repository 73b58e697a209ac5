"""The help texts of the verbs."""

from __future__ import annotations

SIGNED = """
With ATELIER_VERIFY_KEY (the path of a public key) in the environment, the signature of its files must be that
key's; see docs/registry.md."""
TEXTS = {
    "list": """\
All registered generators with their champions, or all versions of one with the outcomes at the gate.""",
    "show": """\
Everything about a version: aliases, what the gate decided and why, numbers with intervals and identities, and
how it was made. --paper prints one of its papers: the model card (Markdown), the bill of materials (CycloneDX 1.6) or
the provenance (in-toto statement, SLSA v1), which with ATELIER_VERIFY_KEY must be signed by that key.""",
    "history": """\
Every decision about a generator, oldest first: what the gate, promote and rollback did, why, who and when. With
all that went into each decision it is also an artifact of the ledger's run in MLflow, decisions/NNNN.json.""",
    "compare": """\
Two versions beside each other: numbers (compared only where they were measured alike, or it says what differs),
the parameters that differ, and a page with images of both from the same latents. What is given pictures or label
maps is shown by its translations of the same held-out ones, beside these and, of pairs, beside their targets: of the set
that A was measured by, as it lies in data/ (dvc pull), or of what --inputs names.""",
    "promote": f"""\
Makes a version the champion, whatever the gate thinks; the champion before becomes "previous".{SIGNED}""",
    "rollback": """\
Makes the champion before the present one the champion again. The gate will not promote the one that leaves by
itself; promote does. Several rollbacks go further back, one at a time.""",
    "lineage": """\
Draws where a version comes from (weights, images with DVC's md5, commit, parameters, seed, image, runs, and the
generator that it was fine-tuned from with all of this) and what was fine-tuned from it.""",
    "reproduce": """\
Prints the commands that make a version again from its commit, images and parameters, and check the result's
hash. With --run they are followed, in a new git worktree: minutes to hours, as the training took. On a CPU the
result is the same, bit for bit; what may keep it from being so is said first.""",
    "pull": f"""\
Fetches a version as a checkpoint folder, from which evaluate and export go on; every file must have the hash
that was registered. It holds the generator alone. The discriminator has seen the training images and tells them
from others, so that it does not belong into what is published; fine-tuning needs it: --networks.{SIGNED}""",
    "relocate": """\
Makes every address in mlflow.db relative to its folder, so that the folder can be moved, copied and renamed. The
commands do so by themselves to a database of before, unless the files of its runs are elsewhere, as when runs in a
copy have written into the original's mlartifacts: those are copied beside the database first. What lies elsewhere
by somebody's will, such as on S3, stays there.""",
    "export": f"""\
Writes the generator as one ONNX file, which needs neither Atelier nor PyTorch to run, after comparing its
images with PyTorch's. Inputs: latent float32 [N, size] and, with classes, label int64 [N]; output: images
float32 [N, C, H, W] in [-1, 1]. Nobody marks the images of such a file; with --watermark a copy of the
generator learns to mark them itself, which takes a minute and changes them, and the registered one stays.{SIGNED}""",
}
