# One word a task; CI runs the same ones.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := --extra postgres --extra lightgbm --extra xgboost-cpu --extra catboost --extra sklearn --extra onnx --extra mlflow
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench docs lock format clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'
