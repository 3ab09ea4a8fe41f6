"""Liveness and readiness, for whoever keeps the server running. Neither needs a key."""

import os
from pathlib import Path

from quart import Blueprint, Response

from intermute.domain.limits import DISK_FREE_MIN
from intermute.web.edge import Edge, json_response


def health_blueprint(edge: Edge, path: Path) -> Blueprint:
    """`/health`: the process answers. `/ready`: it can also do its work."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    async def health() -> Response:
        return json_response({"status": "ok"})

    @routes.get("/ready")
    async def ready() -> Response:
        found = edge.projects.health()
        troubled = [project for project in found if not project.ready]
        disk = os.statvfs(path)
        free = disk.f_bavail * disk.f_frsize
        is_ready = not troubled and free >= DISK_FREE_MIN
        members: dict[str, object] = {
            "status": "ready" if is_ready else "degraded",
            "disk": {"free_bytes": free, "ok": free >= DISK_FREE_MIN},
            "live": len(found) - len(troubled),
            "troubled": len(troubled),
        }
        # Which projects there are is for this machine to know; tags are hashes of their names.
        if edge.is_local():
            members["projects"] = [
                {
                    "tag": project.tag,
                    "ready": project.ready,
                    "breaker": project.breaker.value,
                    "storage_faults": project.faults_in_row,
                    "last_fault": project.last_fault,
                }
                for project in found
            ]
        return json_response(members, status=200 if is_ready else 503)

    return routes
