"""Invents examples/transcript.json, an afternoon at a bike rental desk: an agent and its tools.

python examples/transcript.py > examples/transcript.json
"""

import json
from random import Random
from typing import Any

random = Random(6)  # noqa: S311  # nobody's secret
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
KINDS = ["city bike", "touring bike", "mountain bike", "cargo bike", "tandem", "e-bike"]
ROUTES = ["the harbour loop", "the old railway", "the river path", "the lighthouse", "the dunes"]
GUESTS = ["Ines", "Joon", "Marta", "Abel", "Sora", "Timo", "Leyla", "Pavel"]
GREETINGS = [
    "{guest} here. Have you got a {kind} for {day}?",
    "Hello, this is {guest}. We are looking for a {kind}, on {day} if we can.",
    "A {kind} on {day}, is that possible? The name is {guest}.",
]
CHECKLIST = (
    "It is quiet now, so please go through all city bikes, one by one, before the season starts. "
    "Brakes: the pads are worn when the groove is gone, and a cable that frays is worn too. Tyres: "
    "look for cracks at the side, for glass in the tread, and press them with your thumb. Chain: "
    "lay the gauge on it; if it drops in, the chain is worn, and so is the smallest sprocket. "
    "Lights: front, rear, and the cable between them, also with the wheel turned slowly. Write "
    "down what is good, what is worn and what is broken. Broken ones go to the back of the shop "
    "today, worn ones get a yellow tag, and whatever is missing we order on Monday. Take your "
    "time, do not guess, and put everything on one list for me at the end, the worst ones on top. "
    "If two are equally bad, the older frame comes first; its number is on the seat tube."
)
STATES = ["good", "good", "good", "worn", "broken"]
WEATHER = ["dry and calm", "a fresh wind from the west", "showers before noon", "fog until ten"]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string"} for key in keys},
                "required": keys,
            },
        },
    }
    for name, description, keys in [
        ("find_bikes", "List the bikes of a kind that are free on a day.", ["kind", "day"]),
        ("book", "Book a bike for a guest.", ["bike", "day", "guest"]),
        ("inspect", "Look a bike over in the workshop.", ["bike"]),
    ]
]
SYSTEM = (
    "You work at the rental desk of a small bike shop by the sea. Answer briefly and kindly. Look "
    "bikes up before you offer them, repeat the day and the price before you book, and never book "
    "without the guest's name. Helmets are free; children under twelve need one."
)
messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}]


def said(role: str, content: str) -> None:
    """Add a message."""
    messages.append({"role": role, "content": content})


def called(name: str, arguments: dict[str, str], result: object) -> None:
    """Add a call and its result."""
    id_ = f"call_{len(messages)}"
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": id_, "type": "function", "function": function}
    messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    messages.append({"role": "tool", "tool_call_id": id_, "content": json.dumps(result)})


def rental(guest: str) -> None:
    """Play one guest: what is free, how far it is, a booking, a farewell."""
    day, kind, route = random.choice(DAYS), random.choice(KINDS), random.choice(ROUTES)
    name = kind.split()[0]
    free = [f"{name}-{number}" for number in sorted(random.sample(range(10, 99), 3))]
    price, km, number = random.randint(12, 24), random.randint(9, 38), random.randint(1000, 9999)
    said("user", random.choice(GREETINGS).format(guest=guest, kind=kind, day=day))
    called("find_bikes", {"kind": kind, "day": day}, free)
    said("assistant", f"{', '.join(free[:-1])} and {free[-1]} are free, at {price} euros.")
    said("user", f"And is it far to {route}?")
    said("assistant", f"{km} km there and back; {random.choice(WEATHER)} on {day}.")
    if random.choice([True, False]):
        said("user", random.choice(["Do we need helmets?", "Until when are you open?"]))
        said("assistant", "Helmets are free, and we are here from nine to six.")
    bike = random.choice(free)
    said("user", f"Then {bike}, please.")
    called("book", {"bike": bike, "day": day, "guest": guest}, {"number": number})
    said("assistant", f"Booked for {day}, {guest}: number {number}.")


def inspection() -> None:
    """Play one long turn: a question that stays while the steps of its answer come and go."""
    said("user", CHECKLIST)
    for number in range(10, 70):
        found = {part: random.choice(STATES) for part in ("brakes", "tyres", "chain", "lights")}
        called("inspect", {"bike": f"city-{number}"}, found)
    said("assistant", "Done: the list is on the workbench, the worst ones on top.")


for turn in range(44):
    if turn == 26:  # noqa: PLR2004  # somewhere in the middle
        inspection()
    rental(GUESTS[turn % len(GUESTS)])
said("user", "One more thing: who was the very first guest today, and what did they book?")


def compact(value: object) -> str:
    """Spell a value without spaces."""
    return json.dumps(value, separators=(",", ":"))


lines = ",\n".join(map(compact, messages))
print(f'{{"tools":{compact(TOOLS)},\n"messages":[\n{lines}\n]}}')
