"""Gives the daemon what a rendered chart gives it, and asks it whether it takes that: chart_config.py RENDERED DAEMON.

The variables of the container, the files of its image and its ConfigMap come together in a folder; `check-config` must report no mistake and
no warning. Secrets are not there, so their variables have a made-up value.
"""

import pathlib
import subprocess
import sys
import tempfile

import yaml

rendered, daemon = sys.argv[1:]
objects = [one for one in yaml.safe_load_all(pathlib.Path(rendered).read_text()) if one]
configuration = next(one for one in objects if one["kind"] == "ConfigMap")["data"]
pod = next(one for one in objects if one["kind"] in ("Deployment", "StatefulSet"))["spec"]["template"]["spec"]
[container] = pod["containers"]

variables = {"HOSTNAME": "registry-0", "POD_IP": "10.1.2.3", "LOG_FILE": "", "REGISTRY_EMBEDDED_DIR": "/var/lib/service-center/data"}
for variable in container["env"]:
    if "value" in variable:
        variables[variable["name"]] = variable["value"].replace("$(POD_IP)", variables["POD_IP"])
    elif "secretKeyRef" in variable["valueFrom"]:
        variables[variable["name"]] = "Made-up-1"

with tempfile.TemporaryDirectory() as folder:
    place = pathlib.Path(folder)
    (place / "conf").mkdir()
    for name, text in configuration.items():
        (place / "conf" / name).write_text(text)
    (place / ".env").write_text(pathlib.Path("deploy/container/env").read_text())
    checked = subprocess.run([daemon, "check-config"], cwd=folder, env=variables, capture_output=True, text=True)
output = checked.stdout + checked.stderr
if checked.returncode or "0 warning(s)" not in output:
    sys.exit(output)
for setting in ("server.host = 0.0.0.0 ", "registry.instance.endpoint = 10.1.2.3:30100 "):
    if setting not in output:
        sys.exit(f"no {setting}in\n{output}")
