#!/usr/bin/env python3
"""Prints the licenses of everything that is compiled into the daemon: a table of the crates, then the texts of their own files.

Reads `cargo metadata`, and the license files in the sources of the crates. The same Cargo.lock gives the same output.
Fails if a license is not in ALLOWED, or if the text of a license is not found.
"""

import json
import os
import re
import subprocess
import sys

TARGET = "x86_64-unknown-linux-gnu"
# Licenses that allow the archive as it is. MPL-2.0 asks that the archive names the source of such crates, which the table does.
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "LLVM-exception", "MIT", "MPL-2.0",
    "MPL-2.0+", "Unicode-3.0", "Unlicense", "Zlib",
}
# The text of this license names nobody, so it is the same for all. Crates under it that have no license file get our copy.
APACHE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "LICENSE")
# Other crates without a license file, and the crate of the same repository and license that has one.
TEXT_OF = {"tonic-prost": "tonic"}
FILE_NAME = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?$", re.IGNORECASE)
# Parts of a crate's source that have licenses of their own, and are compiled into the daemon, are not deeper than this.
DEPTH = 4

HEAD = """\
The program service-center contains the crates below, the allocator jemalloc (in tikv-jemalloc-sys) and the standard
library of Rust (https://github.com/rust-lang/rust, MIT OR Apache-2.0, Copyright (c) The Rust Project Contributors; the
text of Apache-2.0 is in the file LICENSE). The last column of the table says where the source of each crate is.
The texts of their licenses follow the table. Where a crate offers a choice ("OR"), each of them may be chosen. A crate under
Apache-2.0 that brings no text of its own has none below: the file LICENSE has that text.
"""


def compiled_in():
    """The packages that the program contains, sorted by name and version."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={TARGET}"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, waiting = set(), [root]
    while waiting:
        package = waiting.pop()
        if package not in found:
            found.add(package)
            of_program = [d["pkg"] for d in nodes[package]["deps"] if any(k["kind"] is None for k in d["dep_kinds"])]
            waiting.extend(of_program)
    found.discard(root)
    return sorted((packages[package] for package in found), key=lambda package: (package["name"], package["version"]))


def license_files(package):
    """The paths of the license files of a crate, relative to its folder."""
    folder = os.path.dirname(package["manifest_path"])
    found = []
    for place, folders, files in os.walk(folder):
        inside = os.path.relpath(place, folder)
        if inside.count(os.sep) >= DEPTH:
            folders.clear()
        found.extend(os.path.normpath(os.path.join(inside, name)) for name in files if FILE_NAME.match(name))
    # Sources may be called license.rs.
    return [os.path.join(folder, name) for name in sorted(found) if not name.endswith((".rs", ".c", ".h", ".py", ".toml"))]


def text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.rstrip() for line in file.read().replace("\r\n", "\n").strip("\n\ufeff").split("\n")]
    return "\n".join(lines)


def main():
    packages = compiled_in()
    by_name = {package["name"]: package for package in packages}
    mistakes, rows, users = [], [], {}
    for package in packages:
        name, version, expression = package["name"], package["version"], package["license"] or ""
        words = set(re.split(r"[\s()/]+", expression)) - {"OR", "AND", "WITH", ""}
        if not words or not words <= ALLOWED:
            mistakes.append(f"{name} {version}: the license {expression!r} is not among the allowed ones")
        source = package["repository"] or package["homepage"]
        if not source:
            mistakes.append(f"{name} {version} does not say where its source is")
        rows.append((f"{name} {version}", expression, source or ""))
        files = license_files(package) or license_files(by_name.get(TEXT_OF.get(name), package))
        if not files and expression == "Apache-2.0":
            files = [APACHE]
        if not files:
            mistakes.append(f"{name} {version} has no license file; add a crate of the same repository to TEXT_OF")
        for path in files:
            users.setdefault(text(path), []).append(f"{name} {version}")
    if mistakes:
        sys.exit("\n".join(mistakes))
    name_width, expression_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    print(HEAD)
    for name, expression, source in rows:
        print(f"{name:{name_width}}  {expression:{expression_width}}  {source}")
    for license_text, names in sorted(users.items(), key=lambda item: (item[1], item[0])):
        print("\n" + "=" * 100 + "\n" + "\n".join(dict.fromkeys(names)) + "\n" + "-" * 100 + "\n")
        print(license_text)


main()
