"""What a client put at the address of an upload, as tests ask for it."""

from conversation.errors import FileNotStored
from store.blobs.presigned import BlobUploads


def uploaded_size(store: BlobUploads, tenant: str, upload_id: str) -> int | None:
    """The bytes that were put; None before an upload has ended, and after it was discarded."""
    try:
        with store.read_upload(tenant, upload_id) as chunks:
            return sum(map(len, chunks))
    except FileNotStored:
        return None
