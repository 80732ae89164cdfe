"""What a provider says of a request that is too long, also where LangChain has no name for it."""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from typing import NamedTuple

from langchain_core.exceptions import ContextOverflowError
from langchain_core.tools import ToolException

from langchain_tokenbuffer.errors import TokenBufferError

_MAX_LETTERS = 10_000


class Overflow(NamedTuple):
    """What was counted and what is allowed, in the provider's own tokens; `None`: not said.

    Attributes:
        counted: Tokens of the request, without its reply.
        allowed: Tokens that the request may have beside its reply.
        excess: By how many tokens it is too long, where only that is said.
    """

    counted: int | None = None
    allowed: int | None = None
    excess: int | None = None


class Refusal(NamedTuple):
    """One way to say that a request is too long.

    `text` is a regular expression, in any case of letters. In it `<counted>`, `<allowed>` and `<excess>` stand for the
    numbers of `Overflow`, `<output>` for what the reply may take, of what is allowed for both, and `<total>` for what
    was counted of both.
    """

    provider: str
    source: str  # where it was read
    text: str


# All are tried on every error, since a gateway passes on what the provider behind it says: a row must match no other
# error. The first that matches counts, so one with numbers stands before one without. Where a number is "at least",
# counting stopped there, so it counts nothing.
REFUSALS = (
    Refusal(
        "OpenAI, DeepSeek, OpenRouter, vLLM to 0.10",
        "Chanzhaoyu/chatgpt-web#372, run-llama/llama_index#948, OpenHands/OpenHands#9937, evalstate/fast-agent#621",
        r"maximum context length is <allowed> tokens[.,] however,? you requested (?:about )?<total> tokens"
        r"(?: \([^)]*?<output> (?:in|for) the (?:completion|output))?",
    ),
    Refusal(
        "OpenAI",
        "xtekky/gpt4free#137",
        r"maximum context length is <allowed> tokens[.,] however,? your messages resulted in <counted> tokens",
    ),
    Refusal(
        "Azure OpenAI",
        "BerriAI/litellm, tests of its exceptions",
        r"input tokens exceed the configured limit of <allowed> tokens\. your messages resulted in <counted> tokens",
    ),
    Refusal("OpenAI Responses", "earendil-works/pi, overflow.ts", r"exceeds the context window of this model"),
    # These two limits are not in tokens, so their numbers are not used.
    Refusal("OpenAI", "its array_above_max_length", r"'(?:messages|input)': array too long"),
    Refusal(
        "OpenAI",
        "gptscript-ai/clio#41, VectorlyApp/bluebox#31",
        r"'(?:messages|input)\[\d+\]\.(?:content|output)[^']*': string too long",
    ),
    Refusal(
        "vLLM 0.11",
        "vllm-project/vllm#33418",
        r"max_(?:completion_)?tokens\W+is too large: <output>\. this model.s maximum context length is <allowed> "
        r"tokens and your request has <counted> input tokens",
    ),
    Refusal(
        "vLLM 0.11",
        "vllm-project/vllm, serving_engine.py",
        r"maximum context length is <allowed> tokens\. however, your request has <counted> input tokens",
    ),
    Refusal(
        "vLLM 0.16",
        "vllm-project/vllm, renderers/params.py",
        r"you passed \d+ input \w+ and requested <output> output tokens\. however, the model.s context length is only "
        r"<allowed>",
    ),
    Refusal(
        "vLLM 0.18",
        "vllm-project/vllm#42474",
        r"context length is <allowed> tokens\. however, you requested <output> output tokens and your prompt contains "
        r"(?:at least \d+|<counted>|\d+ characters.{1,90}bound for \d+) input tokens",
    ),
    Refusal(
        "vLLM",
        "vllm-project/vllm#12165, TideDra/grounded-rl#16",
        r"prompt \((?:total )?length <counted>\).{1,80}(?:maximum model length of|\(context length) <allowed>",
    ),
    Refusal(
        "vLLM", "vllm-project/vllm#10440", r"prompt \(<counted> tokens\) is too long and exceeds limit of <allowed>"
    ),
    Refusal(
        "Anthropic",
        "stackblitz/bolt.new#7414, suna#172, docker/docker-agent#569",
        r"input length and .?max_tokens.? exceed context limit: <counted> \+ <output> > <allowed>",
    ),
    Refusal("Anthropic", "stackblitz/bolt.new#1177", r"prompt is too long: <counted> tokens > <allowed> maximum"),
    Refusal("Anthropic", "earendil-works/pi, overflow.ts", r"request_too_large|request exceeds the maximum size"),
    Refusal(
        "Gemini",
        "google-gemini/gemini-cli#6678, arkavo-org/arkavo-edge#371",
        r"input token count (?:\(<counted>\) )?exceeds the maximum number of tokens allowed \(<allowed>",
    ),
    Refusal(
        "Gemini on Vertex AI",
        "google-gemini/gemini-cli#19727",
        r"input token count is <counted> but (?:the )?model only supports up to <allowed>",
    ),
    Refusal("Gemini", "BerriAI/litellm, exception_mapping_utils.py", r"request payload size exceeds"),
    Refusal("xAI", "cline/cline#3120", r"maximum prompt length is <allowed> but the request contains <counted> tokens"),
    Refusal("xAI", "its input_too_large", r"this model.s context window \(<counted> tokens > <allowed> tokens\)"),
    Refusal(
        "Bedrock, Nova",
        "agno-agi/agno, its tests of errors",
        r"max input tokens: <allowed>, request input token count: <counted>",
    ),
    Refusal("Bedrock", "langchain-aws, bedrock_converse.py", r"input is too long|input tokens exceeded"),
    Refusal(
        "Mistral",
        "earendil-works/pi, overflow.ts",
        r"prompt contains <counted> tokens.{0,60}too large for model with <allowed> maximum context length",
    ),
    Refusal("Cohere", "cohere-ai/sandbox-topically#4", r"tokens.{0,40} cannot exceed <allowed> - received <total>"),
    Refusal("Cohere", "its size limit", r"too many tokens: size limit exceeded by <excess> tokens"),
    Refusal("Cerebras", "cline/cline#5140", r"current length is <counted> while limit is <allowed>"),
    Refusal(
        "SGLang",
        "sgl-project/sglang, tokenizer_manager.py",
        r"maximum context length of <allowed> tokens\. you requested a total of [\d.]+ tokens: <counted> tokens from "
        r"the input messages and <output> tokens for the completion",
    ),
    Refusal(
        "SGLang, Together AI",
        "earendil-works/pi, overflow.ts",
        r"input \(<counted> tokens\) is l(?:ong|arg)er than the (?:model.s context length|max context size) "
        r"\(<allowed>",
    ),
    Refusal(
        "SGLang",
        "sgl-project/sglang, its scheduler",
        r"input length \(<counted> tokens\) exceeds the maximum allowed length \(<allowed>",
    ),
    Refusal("SGLang", "sgl-project/sglang, its scheduler", r"prompt exceeds the KV memory budget"),
    Refusal(
        "Text Generation Inference",
        "huggingface/llm-vscode#94",
        r"inputs.? tokens \+ .?max_new_tokens.? must be <= <allowed>\. given: <counted> .?inputs.? tokens and <output>",
    ),
    Refusal(
        "Text Generation Inference",
        "huggingface/text-generation-inference#695",
        r"inputs.? must have less than <allowed> tokens\. given: <counted>",
    ),
    Refusal(
        "TensorRT-LLM",
        "triton-inference-server/tensorrtllm_backend#141, #565",
        r"prompt length \(<counted>\) exceeds maximum (?:input|sequence) length \(<allowed>\)",
    ),
    Refusal(
        "llama.cpp",
        "ggml-org/llama.cpp, tools/server",
        r"request \(<counted> tokens\) exceeds the available context size \(<allowed> tokens",
    ),
    Refusal(
        "llama.cpp",
        "ggml-org/llama.cpp, tools/server",
        r"^(?=.*n_prompt_tokens\W+<counted>)(?=.*n_ctx\W+<allowed>).*context",
    ),
    Refusal("llama.cpp", "earendil-works/pi, overflow.ts", r"exceeds? the available context size"),
    Refusal("llama-cpp-python", "rllm-team/rllm#55", r"tokens \(<counted>\) exceed context window of <allowed>"),
    Refusal(
        "ctransformers",
        "AIAnytime/Zephyr-7B-beta-RAG-Demo#3",
        r"tokens \(<counted>\) exceeded maximum context length \(<allowed>\)",
    ),
    Refusal(
        "LM Studio",
        "lmstudio-ai/lmstudio-bug-tracker#546, #237",
        r"keep the first <counted> tokens.{0,90}context length of only <allowed> tokens",
    ),
    Refusal("LM Studio", "earendil-works/pi, overflow.ts", r"initial prompt is greater than the context length"),
    Refusal("Ollama", "earendil-works/pi, overflow.ts", r"exceeded (?:max )?context length by <excess> tokens"),
    Refusal(
        "Ollama",
        "as recorded from its cloud",
        r"prompt is too long: <counted>, model maximum context length: <allowed>",
    ),
    Refusal(
        "DwarfStar",
        "antirez/ds4#150",
        r"prompt (?:tokens \(|has )<counted>(?:\) exceeds context size \(| tokens, but the configured context size is )"
        r"<allowed>",
    ),
    Refusal("vMLX", "jjang-ai/vmlx#254", r"prompt has <counted> tokens, max prompt/context tokens is <allowed>"),
    Refusal(
        "Kimi", "earendil-works/pi, overflow.ts", r"exceeded model token limit: <allowed>(?: \(requested: <total>\))?"
    ),
    Refusal("Kimi", "its limit of a request's size", r"total message size <counted> exceeds limit <allowed>"),
    Refusal("Qwen", "QwenLM/qwen-code#3652", r"range of input length should be \[\d+, ?<allowed>"),
    Refusal("MiniMax", "earendil-works/pi, overflow.ts", r"context window exceeds limit"),
    Refusal("GLM", "its error code 1261", r"prompt exceeds max length|prompt ?超长"),
    Refusal(
        "SiliconFlow",
        "langgenius/dify#19394",
        r"length of prompt_tokens \(<counted>\) must be less than max_seq_len \(<allowed>\)",
    ),
    Refusal("Doubao", "its InvalidParameter", r"tokens of image and text exceed"),
    Refusal(
        "OpenRouter, Poolside",
        "earendil-works/pi, overflow.ts",
        r"input length \(?<counted>\)? exceeds (?:the |model.s )?maximum (?:allowed input|context) length (?:of )?"
        r"\(?<allowed>",
    ),
    Refusal(
        "GitHub Models", "cline/cline#995", r"request body too large for .{1,60} model\. max size: <allowed> tokens"
    ),
    Refusal("GitHub Copilot", "jjleng/copilot-more#35", r"token count of <counted> exceeds the limit of <allowed>"),
    Refusal(
        "watsonx",
        "agno-agi/agno, its tests of errors",
        r"input tokens <counted> cannot exceed the total tokens limit <allowed>",
    ),
    Refusal("Snowflake Cortex", "posit-dev/positron#11737", r"max tokens of <allowed> exceeded"),
    Refusal(
        "any, in Chinese", "QwenLM/qwen-code, LobeHub", r"(?:超出|超过)[^。]{0,12}(?:上下文|长度|上限)|上下文.{0,6}超"
    ),
    Refusal(
        "any",
        "HTTP's status 413, gRPC's",
        r"(?:request entity|payload|content) too large|(?:code:?|status) 413\b|^413 ?status code"
        r"|message larger than max",
    ),
    Refusal(
        "any",
        "read with and without a second number",
        r"(?:max(?:imum)?|model.s) (?:context|prompt) (?:length|size|window|limit) (?:is|of|for this model of) "
        r"<allowed>",
    ),
    Refusal("any", "read with and without a second number", r"context length of <allowed> exceeded"),
    Refusal("Groq", "earendil-works/pi, overflow.ts", r"reduce the length of the (?:input |messages|prompt)"),
    Refusal(
        "any",
        "codes of OpenAI, z.ai, Copilot, llama.cpp, GitHub Models, watsonx, LiteLLM",
        r"(?:context|prompt)[_ ](?:(?:length|window|size)[_ ])?(?:is )?(?:has been )?(?:exceeded|too_long)"
        r"|max_prompt_tokens_exceeded|exceed_context_size|(?:input|content)_too_l(?:ong|arge)|tokens_limit_reached"
        r"|token_quantity_exceeded|ContextWindowExceeded",
    ),
    Refusal("any", "Anthropic, z.ai and who speaks like them", r"prompt (?:is )?too long"),
    Refusal(
        "any",
        "servers that call what they allow so",
        r"(?:prompt|input|messages?|context) (?:length |size |tokens )?(?:exceeds?|exceeded|is \w+er than) (?:the )?"
        r"(?:model.s )?max(?:imum)?[ _]tokens",
    ),
)

# What speaks of tokens and limits and is no refusal for length: limits of a rate, of an account, of the reply alone.
_OTHER = re.compile(
    r"rate.?limit|too many requests|throttl|quota|credit|billing|afford|usage limit|overloaded|service unavailable:"
    r"|(?:per|in a) (?:min(?:ute)?|second|hour|day|month)\b|\b[TR]P[MD]\b|(?:dai|month|week)ly|error code: 429"
    r"|deadline exceeded",
    re.IGNORECASE,
)
# A sentence in no row: it speaks of the request, in a unit of length, as of too much, and of nothing else.
_REQUEST = re.compile(
    r"prompt|input|request|context|conversation|messages?\b|chat history|sequence|tokens?\b", re.IGNORECASE
)
_LENGTH = re.compile(r"tokens?\b|context|(?:prompt|input|sequence|message)s? (?:length|size)|too long", re.IGNORECASE)
_TOO_MUCH = re.compile(
    r"exceed|too (?:long|large|many|big)|(?:long|larg|great|bigg)er than|more than|overflow|surpass|over the|> ?\d"
    r"|(?:less|fewer) than|at most|beyond|does not fit|is full",
    re.IGNORECASE,
)
_OUTPUT = re.compile(
    r"output|completion|max.{0,5}tokens?\b|generat|thinking|budget|produced|repl(?:y|ies)|response", re.IGNORECASE
)
_TOKENS = re.compile(r"context (?:length|window|size|limit)|(?:prompt|input|total|number of) tokens", re.IGNORECASE)
_SOMETHING_ELSE = re.compile(
    r"image|pdf|audio|video|\bfile|\btool|function|\bname|description|time|stop|batch|embed|recursion|\bid\b|user'"
    r"|_key|schema|characters|bytes|\d ?[KMG]i?B\b",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"[.!?;](?:\s|$)|[\"']\s*[,:}]|[{}]")
_NUMBER = re.compile(r"(?<![\w.,:-])(\d+)(?![\d.]*\w)")


def overflow_of(error: Exception) -> Overflow | None:
    """Return what an error says about a request that was too long; `None` if it is another.

    So is one that nothing smaller would answer: the reply alone was to be longer than what is allowed.
    """
    if isinstance(error, (TokenBufferError, ToolException)):
        return None
    text = _text_of(error)
    is_named = isinstance(error, ContextOverflowError)
    if not is_named and (_OTHER.search(text) or getattr(error, "status_code", None) == HTTPStatus.TOO_MANY_REQUESTS):
        return None
    numbers = _in_row(text)
    if numbers is None:
        said = (_in_sentence(sentence) for sentence in _SENTENCES.split(text))
        numbers = next((each for each in said if each is not None), None)
    if numbers is None:
        return Overflow() if is_named else None
    return _of_input(**numbers)


def _text_of(error: Exception) -> str:
    """Return what an error says, on one line and with plain numbers; the beginning, if a request is echoed in it."""
    said = str(error), str(getattr(error, "body", None) or "")
    text = " ".join(" ".join(each[:_MAX_LETTERS].split()) for each in said)
    return re.sub(r"(?<=\d)[,_](?=\d{3}\b)", "", text)


def _in_row(text: str) -> dict[str, int] | None:
    """Return the numbers of the first row that matches, by their names; `None` if none does."""
    found = next(filter(None, (pattern.search(text) for pattern in _patterns())), None)
    return None if found is None else {name: int(number) for name, number in found.groupdict().items() if number}


@cache
def _patterns() -> list[re.Pattern[str]]:
    return [re.compile(re.sub(r"<(\w+)>", r"(?P<\1>\\d+)", row.text), re.IGNORECASE) for row in REFUSALS]


def _in_sentence(sentence: str) -> dict[str, int] | None:
    """Return the numbers of a sentence that says so in words of its own; `None` if it says something else."""
    if not all(each.search(sentence) for each in (_REQUEST, _LENGTH, _TOO_MUCH)) or _OUTPUT.search(sentence):
        return None
    if _SOMETHING_ELSE.search(sentence) and not _TOKENS.search(sentence):
        return None
    numbers = sorted({int(each) for each in _NUMBER.findall(sentence)})
    # More was counted than is allowed, or nothing would have been refused.
    match numbers:
        case [allowed, counted]:
            return {"allowed": allowed, "counted": counted}
    return {}


def _of_input(
    counted: int | None = None,
    allowed: int | None = None,
    output: int = 0,
    total: int | None = None,
    excess: int | None = None,
) -> Overflow | None:
    """Return what the numbers say of the request without its reply."""
    if total is not None:
        counted = total - output
    if allowed is not None:
        allowed -= output
        if allowed <= 0:
            return None
        if counted is not None and counted <= allowed:  # these cannot be the numbers of what was refused
            counted = allowed = None
    return Overflow(counted, allowed, excess)
