"""Signing in to the console: the password, how often it may be tried, and what is written about it."""

from __future__ import annotations

from punktfunk import log
from punktfunk.addresses import source_of
from punktfunk.log_limit import SourceLog, StrangerLog
from punktfunk.mgmt.login import Password
from punktfunk.mgmt.routing import ApiError
from punktfunk.mgmt.sign_in_limits import SignInLimits, Wait


class SignIn:
    """Judge who signs in; failures go to ``strangers``, since whoever reaches the port may fail."""

    def __init__(self, password: Password, strangers: StrangerLog) -> None:
        self.password = password
        self.limits = SignInLimits()
        self._strangers = strangers

    async def check(self, password: str, source: str) -> None:
        """Return when this is the password; raise ``ApiError`` 401 when not, 429 when it was not tried."""
        match await self.limits.attempt(source, lambda: self.password.check(password)):
            case Wait(seconds, cause):
                raise ApiError(
                    429,
                    f"{cause}: wait {seconds} s, or sign in with the one-time link that punktfunk console prints",
                    {"retry-after": str(seconds)},
                )
            case False:
                self._log(source).warning("console sign-in failed", way="password")
                raise ApiError(401, "wrong password")

    def refuse_ticket(self, source: str) -> ApiError:
        """Return the answer to a ticket that is none."""
        # Anybody may try this as fast as they like: 256 random bits need no limit.
        self._log(source).debug("console sign-in failed", way="ticket")
        return ApiError(401, "this link was used already or is too old: punktfunk console prints a fresh one")

    def passed(self, source: str) -> None:
        """Take note that the host's user has signed in from there."""
        self.limits.signed_in(source)
        log.get("mgmt").info("console sign-in", source=source)

    def _log(self, source: str) -> SourceLog:
        return self._strangers.of(source_of(source)).bind(source=source)
