"""The pipeline of Kubeflow Pipelines (v2): the stages of dvc.yaml over the same component functions.

A component of KFP is the source of one function with every parameter in its signature, and KFP fills a mapping from
pipeline parameters by pasting text, which loses types and breaks on a quote. So each task takes its settings as single
typed parameters, and the functions that KFP ships are written here from params.yaml: a signature and one call of
`pipelines.steps`. A task's inputs hold exactly the settings that its step reads.

What is taken from earlier runs. Kubeflow's cache compares a task's image, parameters and the ids of its input artifacts; it
knows neither what is behind a path or an alias nor which MLflow the environment names. So a set of images that is named by a path
is packed, and what follows trained, in every run, unless `Cluster.reuse` vouches that a source which keeps its name keeps its
content. A set that DVC tracks is named by its content (`Cluster.imports`): its address is an artifact that keeps its id, so
unchanged images are not fetched, packed and trained on again, and changed ones are. Never skipped are the check, which looks at
the environment, fine-tuning, which may begin from an alias of the registry, and registering, whose work is in MLflow.

Gates. A generator that its measurement calls of no use goes no further. They test a truth value that a task returns, which is all
that kfp.local can test, too. Whatever happens, the exit handler tells MLflow how it ended.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Value
from kfp import dsl
from kfp.dsl import base_component

from pipelines import form, steps
from pipelines.cluster import DATA_IMAGE, IMAGE, Cluster, PipelineError

__all__ = ["DATA_IMAGE", "IMAGE", "NAME", "Cluster", "PipelineError", "pipeline"]

NAME = "atelier"
TRIALS = "sweep_trials"
ROLES = {"data": "base", "target": "target"}  # section of params.yaml -> what the steps call its images
REGISTERED = {"data": "base", "target": "finetuned"}  # and the generator that is registered from them
Task = Callable[..., Any]


def imported(section: str) -> str:
    """Name of the pipeline parameter that holds the address of a section's images in DVC's remote."""
    return f"{section}_dvc_uri"


def pipeline(cluster: Cluster | None = None, params: Path = form.PARAMS) -> base_component.BaseComponent:
    """The pipeline, with one typed parameter for each value of `params` and that value as its default."""
    cluster = cluster or Cluster()
    leaves = form.leaves(params)
    signature = [_parameter(leaf.name, leaf.default, leaf.type) for leaf in leaves.values()]
    described = {leaf.name: leaf.description for leaf in leaves.values()}
    for section, uri in cluster.imports.items():
        signature.append(_parameter(imported(section), uri, str))
        described[imported(section)] = f"address of the {ROLES[section]} images in DVC's remote, which names their content"
    if cluster.trials:
        signature.append(_parameter(TRIALS, [dict(trial) for trial in cluster.trials], list[dict[str, Any]]))
        described[TRIALS] = "what to try out: a list of settings of model and train, of which the best generator is taken"

    def build(*values: Any) -> None:
        by_key = dict(zip(leaves, values, strict=False))
        extra = dict(zip([one.name for one in signature[len(leaves) :]], values[len(leaves) :], strict=True))
        _graph(leaves, by_key, extra, cluster)

    build.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    build.__doc__ = "\n".join(
        ["From images to a registered, fine-tuned generator.", "", "Args:"]
        + [f"    {name}: {description}" for name, description in described.items()]
    )
    result = dsl.pipeline(name=NAME, display_name="Atelier")(build)
    _add_choices(result, leaves)
    return result


def _parameter(name: str, default: Any, annotation: type) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _add_choices(pipeline: base_component.BaseComponent, leaves: dict[str, form.Leaf]) -> None:
    """Makes the UI offer the allowed values as a list. KFP's SDK has no way to say so; the format and the UI have."""
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    for leaf in leaves.values():
        for choice in leaf.choices:
            text = isinstance(choice, str)
            parameters[leaf.name].literals.append(Value(string_value=choice) if text else Value(number_value=choice))


def _graph(leaves: dict[str, form.Leaf], parameters: Mapping[str, Any], extra: Mapping[str, Any], cluster: Cluster) -> None:
    """The tasks and their edges. `parameters` are the pipeline's by the keys of params.yaml, `extra` its others by name."""

    def task(name: str, **given: Any) -> Any:
        step = steps.STEPS[name]
        settings = {form.parameter(key): parameters[key] for key in step.keys}
        made = component(step, leaves, cluster.image_of(step), frozenset(given))(**settings, **given)
        sound = cluster.reuse or set(cluster.imports) >= _sections_behind(name)
        placed = cluster.place(made, step, parameters).set_caching_options(step.reusable and sound)
        return placed.set_display_name(step.title)

    with dsl.ExitHandler(task("finish"), name="pipeline"):
        # dvc.yaml needs no such task: its commands validate the whole of params.yaml before they start.
        check = task("check")
        images = _packed(task, "data", extra, cluster, check)
        base, evaluation, usable = _trained(task, images, extra, cluster)
        target = _packed(task, "target", extra, cluster, check)
        with dsl.If(usable == True, name="base is of use"):  # noqa: E712 - a condition of KFP, not Python's
            tuned = task("finetune", images=target, base=base).outputs["checkpoint"]
            second = task("evaluate_finetuned", images=target, checkpoint=tuned, baseline=base)
            with dsl.If(second.outputs["Output"] == True, name="fine-tuned is of use"):  # noqa: E712
                task(
                    "register",
                    base=base,
                    base_evaluation=evaluation,
                    base_images=images,
                    finetuned=tuned,
                    finetuned_evaluation=second.outputs["evaluation"],
                    finetuned_images=target,
                    task_id=dsl.PIPELINE_TASK_ID_PLACEHOLDER,
                    **{f"{REGISTERED[section]}_dvc_uri": extra[imported(section)] for section in cluster.imports},
                )


def _sections_behind(name: str) -> set[str]:
    """Sections whose images a step's outputs depend on."""
    if "finetune" in name:
        return set(ROLES)
    return {section for section, role in ROLES.items() if name.endswith(role)} or {"data"}


def _packed(task: Task, section: str, extra: Mapping[str, Any], cluster: Cluster, check: Any) -> Any:
    """The packed images of a section: fetched where DVC has them, packed by one task or by several."""
    role = ROLES[section]
    raw = {}
    if section in cluster.imports:
        raw["raw"] = task(f"fetch_{role}", address=extra[imported(section)]).after(check).outputs["images"]
    if cluster.partitions == 1:
        return task(f"prepare_{role}", **raw).after(check).outputs["images"]
    with dsl.ParallelFor(list(range(1, cluster.partitions + 1)), name=f"parts of the {role} images") as number:
        part = task(f"part_{role}", number=number, parts=cluster.partitions, **raw).after(check)
    return task(f"merge_{role}", processed=dsl.Collected(part.outputs["processed"])).outputs["images"]


def _trained(task: Task, images: Any, extra: Mapping[str, Any], cluster: Cluster) -> tuple[Any, Any, Any]:
    """Checkpoint and evaluation of the base generator, the best of several in a sweep, and whether it is of use."""
    if not cluster.trials:
        checkpoint = task("train", images=images).outputs["checkpoint"]
        measured = task("evaluate_base", images=images, checkpoint=checkpoint)
        return checkpoint, measured.outputs["evaluation"], measured.outputs["Output"]
    with dsl.ParallelFor(extra[TRIALS], name="trials") as trial:
        trained = task("train", images=images, trial=trial)
        measured = task("evaluate_base", images=images, checkpoint=trained.outputs["checkpoint"])
    best = task(
        "choose",
        checkpoints=dsl.Collected(trained.outputs["checkpoint"]),
        evaluations=dsl.Collected(measured.outputs["evaluation"]),
    )
    return best.outputs["checkpoint"], best.outputs["evaluation"], best.outputs["Output"]


def component(step: steps.Step, leaves: dict[str, form.Leaf], image: str, given: frozenset[str]) -> base_component.BaseComponent:
    """The KFP component of a step: a function whose source is a typed signature and a call of `steps.execute`.

    Of the step's optional arguments it takes those in `given`.
    """
    signature = [f"{form.parameter(key)}: {leaves[key].type.__name__}" for key in step.keys]
    signature += [f"{name}: {kind}" for name, kind in step.arguments.items() if name in given or name not in step.optional]
    source = (
        f"def {step.name}(\n"
        + "".join(f"    {parameter},\n" for parameter in signature)
        + f"){' -> bool' if step.decides else ''}:\n"
        + f'    """{step.title}."""\n'
        + "    given = dict(locals())\n"
        + "    from pipelines import steps\n\n"
        + f'    {"return " if step.decides else ""}steps.execute("{step.name}", given)\n'
    )
    filename = f"<component {step.name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {**vars(dsl)}
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)  # noqa: S102 - our own text, shipped as it is by KFP
    return dsl.component(base_image=image, install_kfp_package=False)(namespace[step.name])
