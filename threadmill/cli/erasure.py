"""`threadmill erase` and `threadmill export-user`: the end of a user's data, and a copy of it."""

from pathlib import Path
from typing import Annotated

import typer

from threadmill.cli.atomic_file import write_atomically
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, use_store
from threadmill.cli.output import print_json, print_note, print_record, print_text, show_cell

#: Exit status: an export is written, but something that belongs into it is lost.
LOST = 3

User = Annotated[str | None, typer.Option(help="All threads whose metadata names this user.")]
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
    """
    from store.erasure.subject import Subject

    # A wrong subject is refused before the operator is asked to confirm it.
    Subject(tenant=tenant, thread_id=thread, user=user, whole_tenant=whole_tenant).check()
    if not yes:
        subject_name = "everything" if whole_tenant else user or thread
        typer.confirm(show_cell(f"Erase {subject_name} of {tenant} for good?"), abort=True)

    certificate = use_store(tenant, lambda store: store.erase(user=user, thread_id=thread, whole_tenant=whole_tenant))
    if as_json:
        print_json(certificate)
        return
    print_record(
        {**certificate["counts"], "certificate": certificate["id"], "digest": certificate["digest"]}, as_json=False
    )


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
    print_text(f"{output.name}: {export_result.threads} threads")
    for name in export_result.lost:
        print_note(f"lost, or damaged: {name}")
    if export_result.lost:
        raise typer.Exit(LOST)
