"""The files of a deployment: the tools that read them accept them, and they agree with each other."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pages import blocks_of

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
GITHUB = ROOT / ".github"
KUBERNETES = ROOT / "deploy/kubernetes"
OLDEST_KUBERNETES = "1.32"
MANIFESTS = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name != "kustomization.yaml"]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVERS = ("todo-a", "todo-b")
REGISTRY = """\
import hashlib, sys
print('"sha256:' + hashlib.sha256(sys.argv[4].encode()).hexdigest() + '"')
"""  # prints a digest that depends on the image's name only
EXACT = r":(\d+\.\d+(\.\d+)?(-\w+)?(@sha256:[0-9a-f]{64})?|\$\{TODO_VERSION.*)$"


def check(tool: str, *arguments: str | Path) -> None:
    """Run a tool of the environment; what it finds fails the test."""
    done = subprocess.run(
        [TOOLS / tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


def documents(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text()))


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    check("hadolint", "--failure-threshold", "info", "Dockerfile")


def test_workflows_and_issue_forms_are_valid_for_github() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *sorted(GITHUB.glob("workflows/*.yml")))
    forms = sorted(path for path in GITHUB.glob("ISSUE_TEMPLATE/*.yml") if path.name != "config.yml")
    check("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)
    check("check-jsonschema", "--builtin-schema", "vendor.github-issue-config", GITHUB / "ISSUE_TEMPLATE/config.yml")


def test_zizmor_finds_nothing_in_the_workflows() -> None:
    check("zizmor", "--offline", "--no-progress", "--persona", "regular", GITHUB / "workflows")


@pytest.mark.parametrize("path", sorted(GITHUB.glob("workflows/*.yml")), ids=lambda path: path.name)
def test_workflow_permissions_are_empty_and_each_job_declares_its_own(path: Path) -> None:
    workflow = documents(path)[0]
    assert workflow["permissions"] == {}
    assert all(isinstance(job["permissions"], dict) for job in workflow["jobs"].values())


def test_the_hooks_before_a_commit_are_valid() -> None:
    check("pre-commit", "validate-config", ".pre-commit-config.yaml")


def test_the_compose_file_is_valid() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_manifest_is_valid_for_kubernetes(path: Path) -> None:
    for version in (OLDEST_KUBERNETES, "1.37"):
        check("kubernetes-validate", "--strict", "--kubernetes-version", version, path)


@pytest.mark.parametrize("folder", [KUBERNETES, KUBERNETES / "migrate"], ids=lambda folder: folder.name)
def test_kustomize_builds_manifests_with_exact_image_versions(folder: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    made = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True).stdout
    images = re.findall(r"image: (\S+)", made)
    assert images
    assert all(re.fullmatch(r".+/todo-api:\d+\.\d+\.\d+", image) for image in images)


def test_the_job_and_the_servers_are_of_one_version_which_is_the_packages() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    kustomizations = [documents(folder / "kustomization.yaml")[0] for folder in (KUBERNETES, KUBERNETES / "migrate")]
    servers, job = (made["images"][0] for made in kustomizations)
    assert servers == job
    assert job["newTag"] == version


def test_no_file_contains_a_secret() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for name in ("POSTGRES_PASSWORD", "BETTER_AUTH_SECRET"):
        values = re.findall(rf"^ +{name}: (.*)$", text, re.MULTILINE)
        assert values
        assert all(value.startswith(f"${{{name}:") for value in values)
    assert re.search(r"postgresql://todo:\$\{POSTGRES_PASSWORD:\?", text)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_is_hardened_limited_and_of_an_exact_version(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert re.search(EXACT, service["image"])
    assert ("ports" in service) == (name == "caddy"), "only the proxy is reached from outside"


def test_our_image_is_built_once_for_all_its_services_and_never_pulled() -> None:
    ours = {name: service for name, service in COMPOSE["services"].items() if "todo-api" in service["image"]}
    assert ours.keys() == {*SERVERS, "migrate"}
    assert len({service["image"] for service in ours.values()}) == 1
    assert [name for name, service in COMPOSE["services"].items() if "build" in service] == ["migrate"]
    assert all(service["pull_policy"] == "never" for service in ours.values())


def test_the_release_step_writes_the_registry_digest_after_every_image(tmp_path: Path) -> None:
    before = [Path(shutil.copy(ROOT / name, tmp_path)).read_text() for name in ("Dockerfile", "compose.yaml")]
    docker = tmp_path / "docker"  # in place of a registry
    docker.write_text(f"#!{sys.executable}\n{REGISTRY}")
    docker.chmod(0o755)
    step = next(block for block in blocks_of(ROOT / "docs/releasing.md") if "imagetools" in block.text)
    for _ in range(2):  # a second time it finds nothing left to do
        path = f"{tmp_path}:{os.environ['PATH']}"
        subprocess.run(["sh", "-eu", "-c", step.text], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)
    named = re.compile(r"^(# syntax=|ARG PYTHON=| +image: (?!todo-api))(\S+)$", re.MULTILINE)
    expected = [named.sub(lambda found: found[0] + "@" + digest_of(found), text) for text in before]
    assert [(tmp_path / name).read_text() for name in ("Dockerfile", "compose.yaml")] == expected
    assert sum(len(named.findall(text)) for text in before) == 5
    check("hadolint", "--failure-threshold", "info", tmp_path / "Dockerfile")
    for service in yaml.safe_load(expected[1])["services"].values():
        assert re.search(EXACT, service["image"])


def digest_of(line: re.Match[str]) -> str:
    image = f"python:{line[2]}" if "PYTHON" in line[1] else line[2]
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def test_the_servers_trust_only_the_network_of_the_proxy() -> None:
    edge = COMPOSE["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    for name in SERVERS:
        assert COMPOSE["services"][name]["environment"]["TODO_TRUSTED_PROXIES"] == edge
    assert [name for name, service in COMPOSE["services"].items() if "edge" in service["networks"]] == [
        "caddy",
        *SERVERS,
    ]
    assert COMPOSE["networks"]["data"]["internal"] is True


def test_every_setting_in_env_reaches_the_servers_unless_the_guide_says_that_compose_fixes_it() -> None:
    settings = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    guide = (ROOT / "docs/deploy.md").read_text()
    fixed = set(re.findall(r"`([A-Z_]+)`", guide.partition("reach the servers, except")[2].partition("\n\n")[0]))
    assert fixed < settings
    for name in SERVERS:
        given = COMPOSE["services"][name]["environment"]
        assert {each for each, value in given.items() if value == f"${{{each}:-}}"} == settings - fixed
        assert given.keys() <= settings


def test_containers_are_not_killed_while_a_server_may_still_answer() -> None:
    from todo_app.worker import GRACE

    pod = documents(KUBERNETES / "deployment.yaml")[0]["spec"]["template"]["spec"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > GRACE + before
    assert all(int(COMPOSE["services"][name]["stop_grace_period"].rstrip("s")) > GRACE for name in SERVERS)


def test_the_proxy_closes_idle_connections_before_the_servers_do() -> None:
    from todo_app.settings import Settings

    kept = re.search(r"keepalive (\d+)s", (ROOT / "deploy/Caddyfile").read_text())
    assert kept
    assert int(kept[1]) < Settings.read({}).keep_alive


def test_the_proxy_leaves_event_streams_open_for_minutes() -> None:
    written = re.search(r"\bwrite (\d+)m\b", (ROOT / "deploy/Caddyfile").read_text())  # of a whole response
    assert written
    assert int(written[1]) >= 10


def test_the_ingress_exposes_only_what_users_need() -> None:
    ingress = next(made for made in documents(KUBERNETES / "network.yaml") if made["kind"] == "Ingress")
    paths = {path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]}
    agents = {"/mcp", "/.well-known/oauth-protected-resource/mcp"}
    assert paths == {"/api", "/docs", "/openapi.json", "/health/live", *agents}


@pytest.mark.parametrize("folder", [KUBERNETES, KUBERNETES / "migrate"], ids=lambda folder: folder.name)
def test_every_pod_may_reach_dns_and_the_database_if_egress_is_denied_by_default(folder: Path) -> None:
    files = documents(folder / "kustomization.yaml")[0]["resources"]  # the job is applied before the servers' files are
    made = [each for name in files for each in documents(folder / name)]
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in made if "template" in each.get("spec", {})]
    policies = [each["spec"] for each in made if each["kind"] == "NetworkPolicy"]
    assert pods
    for labels in pods:
        mine = [policy for policy in policies if policy["podSelector"]["matchLabels"].items() <= labels.items()]
        assert {53, 5432} <= {port["port"] for policy in mine for rule in policy["egress"] for port in rule["ports"]}


def test_the_ingress_names_its_class_and_the_guide_mentions_it() -> None:
    ingress = next(made for made in documents(KUBERNETES / "network.yaml") if made["kind"] == "Ingress")
    assert ingress["spec"]["ingressClassName"]
    assert "`ingressClassName`" in (ROOT / "docs/deploy.md").read_text()


def test_the_documented_wait_for_the_migration_also_ends_on_failure() -> None:
    text = (ROOT / "docs/deploy.md").read_text()
    ended, completed = re.findall(r"kubectl wait --for=(\S+) --timeout=(\d+)([ms]) job/todo-migrate", text)
    job = next(made for made in documents(KUBERNETES / "migrate/job.yaml") if made["kind"] == "Job")
    assert ended[0] == "jsonpath='{.status.conditions[0].type}'"  # a job has conditions when it ends, and not before
    assert int(ended[1]) * 60 > job["spec"]["activeDeadlineSeconds"]
    assert completed == ("condition=complete", "10", "s")


def test_probes_use_the_right_health_paths() -> None:
    container = documents(KUBERNETES / "deployment.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "livenessProbe"):  # the database's absence kills nobody
        assert container[probe]["httpGet"]["path"] == "/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_the_image_runs_as_a_numeric_user_and_without_a_shell() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    for name in ("ENTRYPOINT", "CMD"):  # a shell in between would keep signals to itself
        assert json.loads(re.search(rf"^{name} (.+)$", text, re.MULTILINE)[1])


def test_the_docker_and_kubectl_commands_in_the_guide_name_existing_things() -> None:
    text = (ROOT / "docs/deploy.md").read_text()
    services = re.findall(r"docker compose (?:up|run|exec|cp)(?: --?[\w-]+)* ([a-z][\w-]*)", text)
    assert len(services) > 4
    assert {*services} <= COMPOSE["services"].keys()
    folders = re.findall(r"kubectl apply -k (\S+)", text)
    assert folders
    assert all((ROOT / folder / "kustomization.yaml").exists() for folder in folders)
    objects = {(each["kind"].lower(), each["metadata"]["name"]) for path in MANIFESTS for each in documents(path)}
    named = re.findall(r"\b(job|deployment)[/ ](todo[\w-]*)", text)
    assert len(named) > 3
    assert {*named} <= objects
