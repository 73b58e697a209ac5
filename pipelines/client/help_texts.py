"""What `python -m pipelines VERB --help` says first."""

COMPILE = """\
Writes the pipeline as YAML, made from dvc.yaml and params.yaml: upload it in the UI (Pipelines, Upload pipeline) or give it to
`kfp run create`.

examples:
  python -m pipelines compile
  python -m pipelines compile --output compiled.yaml --image registry.example/atelier@sha256:... --tracking-uri http://mlflow:5000
"""

RUN_LOCAL = """\
Runs the pipeline on this machine with kfp.local: each step is a process of this environment, by the same code as on a cluster.
Values come from params.yaml. Each run begins at the first step; a training that was interrupted goes on from its last save.
It ends with the table of registered generators, their reports, and the folder that holds all outputs.

examples:
  python -m pipelines run-local
  python -m pipelines run-local --set data.base.source=folder --set data.base.path=data/raw/flowers
"""

SUBMIT = """\
Compiles the pipeline for a cluster and starts a run of it with the values of params.yaml; prints the address of the run.
With --dry-run it prints the requests on stdout, what stands out in them on stderr, and sends nothing.

What the cluster needs:
  Kubeflow Pipelines 2.16 or newer   reached by --host; older ones refuse the choices of the run form
  images with this project           --image and --data-image, by digest; docs/kubeflow.md says how to build and push them
  MLflow                             --tracking-uri, unless Kubeflow's own MLflow plugin is on: without either the first step
                                     stops, since the records would vanish with its container
  data that its nodes can read       an s3:// prefix, an embedded or torchvision source, or a set that DVC pushed to S3

Who asks: nobody in particular, where Kubeflow has no users; else a token (--token-file, KFP_TOKEN) or the cookie of a browser
that is logged in (--session-file, KFP_SESSION). No option takes the secret itself, since others can read command lines.

examples:
  kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80     where Kubeflow has no address of its own
  python -m pipelines submit --host http://localhost:8080 --image registry.example/atelier@sha256:... \\
      --tracking-uri http://mlflow.mlflow.svc:5000 --set train.seed=1 --wait
  python -m pipelines submit --host https://kubeflow.example/pipeline --namespace team --token-file token --image ... --dry-run
"""

UPLOAD = """\
Keeps the pipeline of your cluster there as a version, from which the UI starts runs (Pipelines, atelier, Create run) with the
form that cluster.yaml asks for. The first time it creates the pipeline. A version is what its YAML is: when the cluster has
that very text, nothing is sent and its name is told. The default name is the git commit (with + after it when files differ from
it) and the first eight digits of the YAML's SHA-256; both are the version's tags too.

example:
  python -m pipelines upload --host http://localhost:8080 --image registry.example/atelier@sha256:... --name 2026-12
"""

SCHEDULE = """\
Repeats a run with the pipeline and the values of params.yaml as they are now, until `schedule delete`. A later change of the code
or of params.yaml does not reach it: delete it and create it again.

Times of --cron are those of the cluster's clock, UTC unless its administrators set CRON_SCHEDULE_TIMEZONE. A run that is due
while --max-concurrency runs of the schedule are going waits for one of them. After a pause Kubeflow makes up for every run
that was missed; with --no-catch-up it starts only the latest.

examples:
  python -m pipelines schedule create --cron '0 0 6 * * 1' --no-catch-up --image registry.example/atelier@sha256:...
  python -m pipelines schedule create --every 7d --name weekly --image registry.example/atelier@sha256:...
  python -m pipelines schedule list
  python -m pipelines schedule pause SCHEDULE
"""

DELETE = """\
Removes a schedule. Kubernetes removes the workflows that it owns, so a schedule of which a run has not ended is kept: `pause` it
and let the run end, or stop the run and delete the schedule with --force.
"""

STATUS = """\
Without RUN: the last runs of the experiment. With RUN, its id or its address in the UI: its tasks with state, start and duration,
and what the API says went wrong, which is often nothing; `logs RUN TASK` then has more. Where MLFLOW_TRACKING_URI names MLflow:
how a run that is over ended, of which MLflow's run is closed where the pipeline's last task could not.
"""

LOGS = """\
What the pods of a task wrote, or of every task of a run. The API of Kubeflow has no logs, so they come from the server of its UI,
which reads them from the pods and, an hour after the run, from the object store: --host must be the UI's address. Where neither
has it, the task's output `executor-logs` in the UI does. A step taken from the cache never had one, and what is shown is what was
written until now: `kubectl logs -f` follows.
"""

WAIT = """\
Follows a run: a line for each change of a task. A server that does not answer is asked again for five minutes. Ctrl-C ends the
waiting, not the run.

exit codes: 0 the run succeeded; 1 it failed or was stopped, and stderr says which task and why; 3 it goes on after --timeout;
130 Ctrl-C
"""

TERMINATE = """\
Asks the cluster to stop a run. What its tasks have finished stays, and so does what a training has saved where cluster.states
or --state-claim keeps it: the same settings submitted again go on from there. Kubeflow calls such a run failed, these verbs call
it terminated, and MLflow killed: by the pipeline's last task, or by `status` or `wait` where that one did not run.
"""
