"""A real tokenizer's file: counts, ids, replies and hits are by its tokens."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.config.read import read_experiment, read_fleet
from swarm.provider.tokens import FileTokens

tokenizers = pytest.importorskip("tokenizers")
WORDS = [f"{a}{b}{c}" for a in "bcdfgh" for b in "aeiou" for c in "lmnrst"]
TEXTS = [
    "The emulated provider répond, été 🙂",
    " bal ban\n\n  def f(x):\n    return {'a': 1}  ",
    "x",
    "漢字",
]
TOOL = {
    "type": "function",
    "function": {
        "name": "say",
        "parameters": {"type": "object", "properties": {"it": {"type": "string"}}, "required": ["it"]},
    },
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer that knows some words after a space, and some letters that follow each other."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2000, show_progress=False, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    known = " ".join([*WORDS, "name arguments say it true"])
    tokenizer.train_from_iterator([f" {known}"] * 20, trainer)
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture
def library(file: Path) -> Any:
    return tokenizers.Tokenizer.from_file(str(file))


def real(desk: SimpleNamespace, file: Path, **more: Any) -> Any:
    return desk.fleet(serving={"tokenizer": str(file), "output_tokens": {"median": 9, "sigma": 0}, **more})


@pytest.mark.parametrize("text", TEXTS)
def test_the_pages_of_the_tokenizer_say_what_the_file_says(
    desk: SimpleNamespace, file: Path, library: Any, text: str
) -> None:
    ids = library.encode(text, add_special_tokens=False).ids

    async def main() -> tuple[Any, ...]:
        async with desk.serving(real(desk, file)) as server:
            asked = {"prompt": text, "return_token_strs": True}
            told = (await server.client.post("/tokenize", json=asked)).json()
            back = (await server.client.post("/detokenize", json={"tokens": ids})).json()
            body = {"prompt": text, "echo": True, "max_tokens": 3, "logprobs": 1, "return_token_ids": True}
            echoed = (await server.client.post("/v1/completions", json=body)).json()
            chat = {"messages": [{"role": "user", "content": text}]}
            count = (await server.client.post("/v1/messages/count_tokens", json=chat)).json()
            return told, back, echoed, count

    told, back, echoed, count = desk.run(main)
    (choice,) = echoed["choices"]
    assert (told["tokens"], told["count"], len(told["token_strs"])) == (ids, len(ids), len(ids))
    assert back == {"prompt": text} and count == {"input_tokens": len(ids)}
    assert choice["text"].startswith(text) and len(choice["logprobs"]["tokens"]) == len(ids) + 3
    assert library.decode(choice["token_ids"]) == choice["text"].removeprefix(text)
    assert echoed["usage"]["prompt_tokens"] == len(ids)


def test_a_conversation_is_found_again_to_the_block(desk: SimpleNamespace, file: Path, library: Any) -> None:
    """What a reply and a call of a tool become as a later prompt is what they were when they were made."""

    async def main() -> None:
        async with desk.serving(real(desk, file)) as server:
            messages: list[Any] = [{"role": "user", "content": TEXTS[0] * 3}]
            for turn in range(8):
                choice = "required" if turn % 2 else "none"
                asked = {"messages": messages, "tools": [TOOL], "tool_choice": choice, "max_tokens": 200}
                answer = (await server.client.post("/v1/chat/completions", json=asked)).json()
                message, usage = answer["choices"][0]["message"], answer["usage"]
                new = usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]
                # A block of 4, the last token of the reply, and what was said since.
                assert not turn or new <= 4 + 1 + len(library.encode(messages[-1]["content"]).ids), turn
                said = message["content"] or json.dumps(message["tool_calls"][0]["function"])
                assert usage["completion_tokens"] == (200 if choice == "none" else usage["completion_tokens"])
                assert said
                calls = [{"id": "1"} | each for each in message.get("tool_calls", [])]
                messages.append({k: v for k, v in message.items() if v is not None} | {"tool_calls": calls})
                answer_to = {"role": "tool", "tool_call_id": "1"} if calls else {"role": "user"}
                messages.append({**answer_to, "content": f" bal {turn} {TEXTS[1]}"})

    desk.run(main)


@pytest.mark.parametrize("streams", [False, True])
def test_replies_are_told_in_whole_by_their_tokens(desk: SimpleNamespace, file: Path, streams: bool) -> None:
    """A stream's parts make the text that is told at once; no character is cut."""
    words = {"say": {"it": ["naïve 漢字 🙂"]}}

    async def main() -> None:
        async with desk.serving(real(desk, file, tool_arguments=words)) as server:
            user = [{"role": "user", "content": "hello"}]
            asked = {"messages": user, "tools": [TOOL], "tool_choice": "required", "stream": streams}
            answer = await server.client.post("/v1/chat/completions", json=asked)
            if streams:
                deltas = [each["choices"][0]["delta"] for each in desk.events(answer.text)]
                calls = [delta["tool_calls"][0]["function"] for delta in deltas if "tool_calls" in delta]
                given = "".join(each["arguments"] for each in calls)
            else:
                given = answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
            assert json.loads(given) == {"it": "naïve 漢字 🙂"}

    desk.run(main)


def test_text_and_its_ids_are_the_same_prompt(desk: SimpleNamespace, file: Path, library: Any) -> None:
    text = " bal ban bam" * 8

    async def main() -> int:
        async with desk.serving(real(desk, file)) as server:
            ids = library.encode(text).ids
            await server.client.post("/v1/completions", json={"prompt": text, "max_tokens": 1})
            answer = await server.client.post("/v1/completions", json={"prompt": ids, "max_tokens": 1})
            return answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert desk.run(main) == 20


@pytest.mark.parametrize("overhead", [0, 3, 20])
def test_a_template_costs_each_message_so_many_tokens(
    desk: SimpleNamespace, file: Path, library: Any, overhead: int
) -> None:
    async def main() -> int:
        async with desk.serving(real(desk, file, chat_template_tokens=overhead)) as server:
            asked = {"messages": [{"role": "user", "content": " bal ban"}], "max_tokens": 1}
            return (await server.client.post("/v1/chat/completions", json=asked)).json()["usage"][
                "prompt_tokens"
            ]

    assert desk.run(main) == 2 + 2 * overhead


def test_what_was_made_tokens_before_is_kept_up_to_a_bound(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarm.provider.tokens.KNOWN_BYTES_MAX", 1000)
    tokens = FileTokens(file)
    texts = [(f" bal {number}" + " ban" * 100).encode() for number in range(5)]
    for _ in range(2):
        assert len({bytes(tokens.content(text)) for text in texts}) == 5
    assert len(tokens._known) == 2


def test_a_file_is_where_the_file_that_names_it_says(tmp_path: Path) -> None:
    (tmp_path / "fleets").mkdir()
    fleet = tmp_path / "fleets" / "one.yaml"
    fleet.write_text("name: one\nserving: {tokenizer: t.json}\n")
    experiment = tmp_path / "e.yaml"
    experiment.write_text(
        "name: e\nworkload: {kind: synthetic}\nfleet: fleets/one.yaml\ntarget: {tokenizer: u.json}\n"
    )
    read = read_experiment(experiment, [])
    assert read_fleet(fleet, []).serving.tokenizer == tmp_path / "fleets" / "t.json"
    assert read.fleet.serving.tokenizer == tmp_path / "fleets" / "t.json"
    assert read.target.tokenizer == tmp_path / "u.json"
