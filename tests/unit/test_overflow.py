"""What providers say of requests that are too long, word by word, and what they say of other things."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import openai
import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.tools import ToolException

from langchain_tokenbuffer._counting import overflow
from langchain_tokenbuffer._counting.overflow import REFUSALS, Overflow, overflow_of
from langchain_tokenbuffer._window.shortage import budget_error

TOO_LONG: dict[str, tuple[int | None, ...]] = {  # what is counted, allowed, by how much it is too long
    ("This model's maximum context length is 8,192 tokens. However, your messages resulted in 9,000 tokens."): (
        9000,
        8192,
    ),
    (
        "This model's maximum context length is 4097 tokens, however you requested 4130 tokens (130 in your "
        "prompt; 4000 for the completion). Please reduce your prompt; or completion length."
    ): (130, 97),
    (
        "This model's maximum context length is 4096 tokens. However, you requested 4118 tokens (3118 in the "
        "messages, 1000 in the completion). Please reduce the length of the messages or completion."
    ): (3118, 3096),
    (
        "this endpoint's maximum context length is 131072 tokens. however, you requested about 138956 tokens "
        "(17884 of text input, 121072 in the output)."
    ): (17884, 10000),
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.": (5000, 4096),
    (
        "This model's maximum context length is 2000 tokens. However, you requested 0 output tokens and your "
        "prompt contains at least 2000 input tokens, for a total of at least 2000 tokens. Please reduce the "
        "length"
    ): (None, 2000),
    (
        "This model's maximum context length is 128000 tokens. \nHowever, you requested 65535 output tokens and "
        "your prompt contains at \nleast 62466 input tokens"
    ): (None, 62465),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 8192 "
        "tokens and your request has 7000 input tokens (2000 > 8192 - 7000)."
    ): (7000, 6192),
    "This model's maximum prompt length is 131072 but the request contains 136973 tokens.": (136973, 131072),
    (
        "Failed to start sampling: [input_too_large] The prompt is too long for this model's context window "
        "(505759 tokens > 500000 tokens)"
    ): (505759, 500000),
    "The prompt (total length 25938) is too long to fit into the model (context length 4096).": (25938, 4096),
    "The decoder prompt (length 10127) is longer than the maximum model length of 8192.": (10127, 8192),
    "The input (140000 tokens) is longer than the model's context length (131072 tokens).": (140000, 131072),
    (
        "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with "
        "context length of only 32768 tokens, which is not enough."
    ): (111490, 32768),
    "prompt too long; exceeded max context length by 523 tokens": (None, None, 523),
    "Invalid request: Your request exceeded model token limit: 131072 (requested: 140000)": (140000, 131072),
    "Your request exceeded model token limit: 128000": (None, 128000),
    "Range of input length should be [1, 129024]": (None, 129024),
    "invalid params, context window exceeds limit (2013)": (),
    (
        "input length and `max_tokens` exceed context limit: 174167 + 64000 > 200000, decrease input length or "
        "`max_tokens` and try again"
    ): (174167, 136000),
    (
        "Unable to submit request because the input token count is 1251952 but model only supports up to 1048576."
        " Reduce the input token count and try again."
    ): (1251952, 1048576),
    "prompt is too long: 209353 tokens > 199999 maximum": (209353, 199999),
    "The input token count exceeds the maximum number of tokens allowed (1048576).": (None, 1048576),
    "ValidationException: Input is too long for requested model.": (),
    "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again.": (),
    ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"): (
        40000,
        32768,
    ),
    (
        "too many tokens: total number of tokens (prompt and prediction) cannot exceed 2048 - received 6354. Try "
        "using a shorter prompt or a smaller max_tokens value."
    ): (6354, 2048),
    "Please reduce the length of the messages or completion. Current length is 8500 while limit is 8192": (8500, 8192),
    "Please reduce the length of the messages or completion.": (),
    (
        "Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total "
        "of 40000 tokens: 30000 tokens from the input messages and 10000 tokens for the completion. Please reduce"
    ): (30000, 22768),
    "Requested token count exceeds the model's maximum context length of 131072 tokens.": (None, 131072),
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3474 `inputs` tokens "
        "and 60 `max_new_tokens`"
    ): (3474, 1988),
    "Input validation error: `inputs` must have less than 1024 tokens. Given: 1168": (1168, 1024),
    ("Encountered an error when fetching new request: Prompt length (5056) exceeds maximum sequence length (2048)"): (
        5056,
        2048,
    ),
    "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it": (9000, 8192),
    "the request exceeds the available context size, try increasing it": (),
    (
        "{'error': {'code': 400, 'message': 'the request exceeds the available context size', 'type': "
        "'exceed_context_size_error', 'n_prompt_tokens': 1000, 'n_ctx': 900}}"
    ): (1000, 900),
    "Requested tokens (2065) exceed context window of 1800": (2065, 1800),
    "Number of tokens (2662) exceeded maximum context length (512).": (2662, 512),
    (
        "The number of tokens to keep from the initial prompt is greater than the context length. Try to load the"
        " model with a larger context length, or provide a shorter input"
    ): (),
    "Prompt has 5,958,968 tokens, but the configured context size is 256,000 tokens": (5958968, 256000),
    "Prompt tokens (5000) exceeds context size (4096)": (5000, 4096),
    "prompt_too_long: tokenized VLM text prompt has 20771 tokens, max prompt/context tokens is 20119": (20771, 20119),
    "total message size 2306631 exceeds limit 2097152": (2306631, 2097152),
    "Prompt exceeds max length": (),
    "model_context_window_exceeded": (),
    "length of prompt_tokens (57535) must be less than max_seq_len (32768)": (57535, 32768),
    "The prompt is too long: 140000, model maximum context length: 131071": (140000, 131071),
    "Input length 131393 exceeds the maximum allowed input length of 131040 tokens.": (131393, 131040),
    "Error: 400 Input length (265330) exceeds model's maximum context length (262144).": (265330, 262144),
    "Request body too large for gpt-4o model. Max size: 8000 tokens.": (None, 8000),
    "prompt token count of 93854 exceeds the limit of 90000": (93854, 90000),
    "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model": (5000, 4096),
    "max tokens of 200000 exceeded": (None, 200000),
    "An error occurred: The input exceeds the model's maximum context limit of 8192 tokens.": (None, 8192),
    (
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 509178 tokens. "
        "Please reduce the length of the messages."
    ): (509178, 272000),
    "Your input exceeds the context window of this model. Please adjust your input and try again.": (),
    "Input prompt (35247 tokens) is too long and exceeds limit of 1000": (35247, 1000),
    "Request input tokens exceed model token limit. Reduce the input size.": (),
    "Your prompt is longer than the model's context length of 2048.": (None, 2048),
    "context_length_exceeded": (),
    "Total tokens of image and text exceed max message tokens. Request id: 12": (),
    (
        "Invalid 'messages': array too long. Expected an array with maximum length 2048, but got an array with "
        "length 2900 instead."
    ): (),
    "413 Request Entity Too Large (ref: 632ffad5)": (),
    "输入长度超过模型上限": (),
    "litellm.ContextWindowExceededError: x": (),
    (
        "You passed 4097 input tokens and requested 100 output tokens. However, the model's context length is "
        "only 4096 tokens, resulting in a maximum input length of 3996 tokens."
    ): (None, 3996),
    "The conversation has 9000 tokens, which is more than the 8192 tokens this model can take": (9000, 8192),
    "too many tokens": (),
    "The total number of tokens in the request (9,120) exceeds the model's limit of 8,192": (9120, 8192),
    "Your request has 9000 tokens but this model allows at most 8192 tokens": (9000, 8192),
    "context size has been exceeded": (),
    (
        "Token indices sequence length is longer than the specified maximum sequence length for this model (1025 "
        "> 1024)"
    ): (1025, 1024),
    "The message you submitted was too long, please reload the conversation and submit something shorter.": (),
    "Context window is full": (),
    "The prompt exceeds the max tokens (4096)": (),
    "The prompt with its images is too long: 9000 input tokens > 8192": (9000, 8192),
    "Request payload size exceeds the limit: 20971520 bytes.": (),
    (
        "An error occurred (ValidationException) when calling the Converse operation: The model returned the "
        "following errors: Input is too long for requested model."
    ): (),
    "Sequence length 9000 is greater than the maximum of 8192 tokens": (9000, 8192),
    (
        "This model's maximum context length is 262144 tokens. However, your request has 1000010 input tokens. "
        "Please reduce the length of the input messages. None"
    ): (1000010, 262144),
    "Too many input tokens. Max input tokens: 128000, request input token count: 140000": (140000, 128000),
    '{"code": "token_quantity_exceeded", "message": "input token count is above the limit"}': (),
    "The total length of all messages is too long.": (),
    "Sent message larger than max (50000056 vs. 20971520)": (),
    (
        "too many tokens: size limit exceeded by 713295 tokens. Try using shorter or fewer inputs. The limit for "
        "this model is 288000 tokens."
    ): (None, None, 713295),
    (
        "You exceeded the maximum context length for this model of 128000. Please reduce the length of the "
        "messages or completion."
    ): (None, 128000),
    "context length of 128,000 exceeded": (None, 128000),
    "Input length (9000 tokens) exceeds the maximum allowed length (8192 tokens)": (9000, 8192),
    "input (9000 tokens) is larger than the max context size (8192 tokens). skipping": (9000, 8192),
    "the prompt is longer than the context length currently available to the model": (),
    "Request prompt exceeds the KV memory budget: input_len=9000": (),
    (
        "The decoder prompt (length 9000) plus the number of requested output tokens (at least 1) is longer than "
        "the maximum model length of 8192"
    ): (9000, 8192),
    (
        "This model's maximum context length is 4096 tokens. However, you requested 10 output tokens and your "
        "prompt contains 9000 characters (more than 8000 characters, which is the upper bound for 4086 input "
        "tokens)."
    ): (None, 4086),
    (
        "Requested token count exceeds the model's maximum context length of 131072 tokens. You requested a total"
        " of 524300.0 tokens: 12 tokens from the input messages and 524288.0 tokens for the completion."
    ): (None, 131072),
    "Invalid 'messages[17].content': string too long. Expected a string with maximum length 1048576.": (),
    'ValidationError: {"code": "1261", "message": "Prompt too long"}': (),
    '413 {"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}': (),
}
OTHER = [
    "token limit reached",
    "request too large for model",
    "The input or output tokens must be reduced in order to run successfully",
    "Rate limit reached: 30000 tokens per min. Please try again.",
    (
        "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested "
        "132819. The input or output tokens must be reduced in order to run successfully."
    ),
    (
        "Request too large for model `llama-3.1-8b-instant` on tokens per minute (TPM): Limit 6000, Requested "
        "8210, please reduce your message size and try again."
    ),
    "'tool_calls' must be followed by tool messages",
    (
        "max_tokens is too large: 200000. This model supports at most 16384 completion tokens, whereas you "
        "provided 200000."
    ),
    "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet-20241022",
    (
        "The maximum tokens you requested exceeds the model limit of 4096. Try again with a maximum tokens value "
        "that is lower than 4096."
    ),
    (
        "Unable to submit request because it has a maxOutputTokens value of 65536 but the supported range is from"
        " 1 (inclusive) to 8193 (exclusive). Update the value and try again."
    ),
    "Range of max_tokens should be [1, 8192]",
    "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
    (
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the "
        "`context_window` for this model"
    ),
    "max tokens must be less than or equal to 4096",
    "`max_new_tokens` must be <= 192. Given: 1000",
    "`max_tokens` must be greater than `thinking.budget_tokens`.",
    "Requests with max_tokens > 4096 must have stream=true",
    "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 16384, but got 50000 instead.",
    (
        "Invalid 'tools[0].function.description': string too long. Expected a string with maximum length 1024, "
        "but got a string with length 1300 instead."
    ),
    (
        "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length"
        " 129 instead."
    ),
    (
        "Invalid 'user': string too long. Expected a string with maximum length 64, but got a string with length "
        "65 instead."
    ),
    "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes",
    "too many images and documents: 101 + 0 > 100",
    "messages: at least one message is required",
    "context deadline exceeded",
    "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
    "Recursion limit of 25 reached without hitting a stop condition.",
    (
        "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only "
        "afford 1000"
    ),
    "429 RESOURCE_EXHAUSTED. Quota exceeded for metric: generate_content_free_tier_input_token_count, limit: 250000",
    "ThrottlingException: Too many tokens, please wait before trying again.",
    "Too many tokens per day, please wait before trying again.",
    "monthly token limit exceeded",
    "request count exceeds the limit of 100",
    "Extra usage is required for long context requests.",
    "tools.0.custom.name: String should have at most 64 characters",
    "The request timed out after 600000 ms, more than the limit",
    (
        "What must stay needs 700 tokens even when clamped (the question 700); max_tokens is 600. Raise "
        "max_tokens, shorten or unpin what must stay."
    ),
    "HTTP 507: 507 Insufficient Storage: exceeded request buffer limit while retrying upstream",
    "the tool's query is too long",
    "input_tokens usage limit exceeded for this key",
    "File too large: 30000000 bytes exceeds the maximum of 20971520",
    (
        "Could not finish the message because max_tokens or model output limit was reached. Please try again with"
        " higher max_tokens."
    ),
    "number of function declarations exceeds the limit of 128",
    "max_tokens=140000 cannot be greater than max_model_len=max_total_tokens=131072.",
    (
        "Invalid 'input[0].content': array too long. Expected an array with maximum length 0, but got an array "
        "with length 1 instead."
    ),
    "ResourceExhausted: Worker local total request limit reached (288/48)",
    (
        "The system is currently experiencing high demand and cannot process your request. Your request exceeds "
        "the maximum usage size allowed during peak load. For improved capacity reliability, consider switching "
        "to Provisioned Throughput."
    ),
    "400 status code (no body)",
    "Monthly usage limit reached; enable available balance",
    "retry delay 90000ms exceeds the maximum",
    "The number of tools exceeds the maximum of 128",
    "Tool call arguments exceed the maximum length",
    "prompt_cache_key: string too long. Expected max 64",
    "The model produced more than 4096 tokens; reply cut",
    "You have sent more than 60 messages in a minute",
    "Concurrency limit exceeded: too many concurrent requests",
]


def bad_request(text: str, body: object = None, status: int = 400) -> openai.APIStatusError:
    """A provider's refusal, as the OpenAI client raises it."""
    response: Any = SimpleNamespace(request=None, status_code=status, headers={})
    return openai.APIStatusError(text, response=response, body=body)


@pytest.mark.parametrize("text", TOO_LONG)
def test_a_refusal_for_length_is_read_with_its_numbers(text: str) -> None:
    assert overflow_of(ValueError(text)) == Overflow(*TOO_LONG[text])


@pytest.mark.parametrize("text", OTHER)
def test_what_says_something_else_is_no_refusal_for_length(text: str) -> None:
    assert overflow_of(ValueError(text)) is None


def test_every_row_of_the_table_is_what_a_text_is_known_by() -> None:
    patterns = overflow._patterns()
    texts = [overflow._text_of(ValueError(text)) for text in TOO_LONG]
    first = {next((i for i, pattern in enumerate(patterns) if pattern.search(text)), None) for text in texts}
    assert [row for i, row in enumerate(REFUSALS) if i not in first] == []


def test_an_error_of_langchains_own_name_is_one_whatever_it_says() -> None:
    assert overflow_of(ContextOverflowError("no")) == Overflow()


def test_what_stands_in_the_body_counts() -> None:
    error = bad_request("Error code: 400", {"code": "context_length_exceeded", "message": "too long"})
    assert overflow_of(error) == Overflow()


def test_a_status_of_too_many_requests_is_none_whatever_it_says() -> None:
    assert overflow_of(bad_request("prompt is too long", status=429)) is None


def test_a_tools_own_error_is_none_whatever_it_says() -> None:
    assert overflow_of(ToolException("prompt is too long: 9 tokens > 8 maximum")) is None


def test_an_error_of_our_own_is_none() -> None:
    error = budget_error({"the prompt is too long, its tokens": 9}, 8, clamped=True)
    assert overflow_of(error) is None


def test_a_reply_that_is_to_be_longer_than_the_context_is_none() -> None:
    text = "input length and `max_tokens` exceed context limit: 174167 + 250000 > 200000"
    assert overflow_of(ValueError(text)) is None


def test_numbers_with_commas_are_numbers() -> None:
    text = "prompt is too long: 1,209,353 tokens > 1,000,000 maximum"
    assert overflow_of(ValueError(text)) == Overflow(1209353, 1000000)


def test_a_request_that_is_echoed_in_the_error_is_not_searched_to_its_end() -> None:
    assert overflow_of(ValueError("x" * 20_000 + "prompt is too long")) is None
