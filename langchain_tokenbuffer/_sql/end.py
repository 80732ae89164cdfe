"""What has an end may be used in a `with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn, Self, SupportsIndex


class ClosedAtEnd(ABC):
    """Closed at the end of a `with` or `async with` block."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    async def aclose(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __reduce_ex__(self, _: SupportsIndex) -> NoReturn:
        """Refuse to be pickled or copied."""
        msg = (
            f"A {type(self).__name__} cannot be pickled or copied: it has connections of this process. Pass session_id "
            "and the URL on and make another one there; both show the same session."
        )
        raise TypeError(msg)
