"""Health: whether the process lives, and whether it can serve."""

from fastapi import APIRouter

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", operation_id="check_live")
async def check_live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}
