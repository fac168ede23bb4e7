"""The version: read by the package, its build and its banner."""

VERSION = "0.1.0"
