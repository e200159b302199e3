"""Builds outside of this folder: a `build/` in it would go into the next wheel, with what was removed since."""

from tempfile import TemporaryDirectory

from setuptools import setup

# Removed when the interpreter ends.
outside = TemporaryDirectory()
setup(options={"build": {"build_base": outside.name}, "egg_info": {"egg_base": outside.name}})
