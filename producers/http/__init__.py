"""The HTTP gateway: an ASGI app over the producers, with one module a resource.

What stays true: its packages are an extra, and where one is missing, importing any module of it says how to get it.
"""

from importlib.util import find_spec

if missing := [name for name in ("fastapi", "jwt", "limits", "python_multipart", "uvicorn") if not find_spec(name)]:
    raise ImportError(f"the gateway needs {', '.join(missing)}: pip install 'threadmill[gateway]'")
