"""`threadmill erase` and `threadmill export-user`: the end of a user's data, and a copy of it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from threadmill.cli.atomic_file import write_atomically
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, print_json, use_store

if TYPE_CHECKING:
    from store.erasure.certificate import Certificate

#: Exit status: an export is written, but something that belongs into it is lost.
LOST = 3
#: Exit status: nothing was stored of whoever was to be erased, and the certificate says so.
NOTHING_ERASED = 4

User = Annotated[str | None, typer.Option(help="A user: their threads, and what they said in others'.")]
OneThread = Annotated[str | None, typer.Option(help="One thread, by its id.")]


def erase(
    user: User = None,
    thread: OneThread = None,
    whole_tenant: Annotated[bool, typer.Option("--all", help="All that the tenant has, in every version.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase all that is stored of a user, of one thread, or of a tenant, and print the certificate.

    A thread under legal hold refuses it. An erasure that broke off goes on when
    it is run again, and by itself with the next run of retention.

    Exit status 4 if nothing was found: then look whether the id is right.
    """
    from store.erasure.certificate import NOTHING_FOUND
    from store.erasure.subject import Subject

    # A wrong subject is refused before the operator is asked to confirm it.
    Subject(tenant=tenant, thread_id=thread, user=user, whole_tenant=whole_tenant).check()
    if not yes:
        subject_name = "everything" if whole_tenant else user or thread
        typer.confirm(f"Erase {subject_name} of {tenant} for good?", abort=True)

    certificate = use_store(tenant, lambda store: store.erase(user=user, thread_id=thread, whole_tenant=whole_tenant))
    has_found = certificate["outcome"] != NOTHING_FOUND
    if as_json:
        print_json(certificate)
    else:
        _print_certificate(certificate)
    if not has_found:
        subject_name = "this tenant" if whole_tenant else repr(user or thread)
        typer.echo(f"threadmill: {NOTHING_FOUND} of {subject_name} in tenant {tenant!r}: is it the right id?", err=True)
        raise typer.Exit(NOTHING_ERASED)


def _print_certificate(certificate: "Certificate") -> None:
    for name, count in certificate["counts"].items():
        print(f"{name:<18} {count}")
    if certificate["shared_threads"]:
        print("what others answered in these threads stays, by the SHA-256 of tenant/id:")
    for sha256 in certificate["shared_threads"]:
        print(f"  {sha256}")
    print(f"certificate {certificate['id']}\n{certificate['digest']}")


def export_user(
    output: Annotated[Path, typer.Argument(help="The ZIP file to write.", dir_okay=False)],
    user: User = None,
    thread: OneThread = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Write all that is stored of a user, or of one thread, into a ZIP file.

    Exit status 3 if the file store has lost something that belongs into it.
    """
    with write_atomically(output) as file:
        export_result = use_store(tenant, lambda store: store.export_user(file, user=user, thread_id=thread))
    print(f"{output.name}: {export_result.threads} threads")
    for name in export_result.lost:
        print(f"lost, or damaged: {name}", file=sys.stderr)
    if export_result.lost:
        raise typer.Exit(LOST)
