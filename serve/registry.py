"""The models that are served, found by name and version in a table and in no other way."""

from __future__ import annotations

from collections.abc import Iterator

from serve.errors import RequestError
from serve.served import Served
from toolkit.errors import UserError, suggest


class Registry:
    """Several models, each in one or more versions; the newest to come is the one asked where none is named.

    Used on the event loop only. What a swap replaces is kept for a way back: one a name.
    """

    def __init__(self) -> None:
        self._names: dict[str, list[Served]] = {}
        self._before: dict[str, Served] = {}

    def __iter__(self) -> Iterator[Served]:
        for versions in self._names.values():
            yield from versions

    @property
    def default(self) -> Served:
        """The model that is asked where a request names none: the first that came."""
        return next(iter(self._names.values()))[-1]

    def find(self, name: str | None = None, version: str | None = None) -> Served:
        """The model of that name and version; `RequestError` 404 for one that is not served."""
        if name is None:
            name = self.default.model.name
        if name not in self._names:
            known = list(self._names)
            raise RequestError(
                404, f"no model {name!r} is served here{suggest(name, known)}; served: {', '.join(known)}"
            )
        versions = {each.model.spec.version: each for each in self._names[name]}
        if version is None:
            return self._names[name][-1]
        if version not in versions:
            raise RequestError(404, f"model {name} is served in version {', '.join(versions)}, not {version!r}")
        return versions[version]

    def add(self, served: Served) -> None:
        """Serve one more; UserError where its name and version are taken."""
        spec = served.model.spec
        versions = self._names.setdefault(spec.name, [])
        if any(each.model.spec.version == spec.version for each in versions):
            raise UserError(f"two bundles are {spec.name} {spec.version}; give one of them another name or version")
        versions.append(served)

    def check_swap(self, served: Served) -> None:
        """Raise UserError where `swap` would turn a name into something else for those who ask it."""
        spec = served.model.spec
        versions = self._names.get(spec.name, [])
        if versions and versions[-1].model.spec.task != spec.task:
            raise UserError(
                f"bundle {served.model.bundle.path}: {spec.name} is a {spec.task} model, but a "
                f"{versions[-1].model.spec.task} model is served under that name; give it another"
            )
        if any(each.model.spec.version == spec.version for each in versions[:-1]):
            raise UserError(f"{spec.name} {spec.version} is served already, beside the current version")

    def swap(self, served: Served) -> Served | None:
        """Serve ``served`` in place of the current version of its name, which is returned and kept for `way_back`."""
        versions = self._names.setdefault(served.model.name, [])
        old = versions.pop() if versions else None
        versions.append(served)
        if old is not None:
            self._before[served.model.name] = old
        return old

    def way_back(self, name: str) -> Served:
        """What the last swap of that name replaced; UserError where there is nothing."""
        if name not in self._before:
            raise UserError(f"model {name!r} has replaced nothing since this service started, so nothing can come back")
        return self._before[name]

    def remove(self, name: str) -> list[Served]:
        """Serve that name no more, in no version; UserError for the last one and for one that is not served."""
        if name not in self._names:
            raise UserError(f"no model {name!r} is served here; served: {', '.join(self._names)}")
        if len(self._names) == 1:
            raise UserError(f"{name} is the only model that is served; stop the service instead")
        self._before.pop(name, None)
        return self._names.pop(name)
