"""Phones for the page, as JSON; nothing here changes anything.

    GET /api/phones?tier=low&offset=20    which phones there are
    GET /api/phones/17                    a look into one of them

A mistake is {"error": "..."} with status 404. What the router is mounted on guards host and origin.
"""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from models.errors import DataError
from simulation.studio.phone_model import MOST_ROWS, PhonePage, PhoneView

if TYPE_CHECKING:  # it loads torch with the settings; a page without a run does without
    from simulation.studio.phone_preview import PhonePreview

HOW_TO_GET_ONE = (
    "The studio was started without a run. `pocketfleet quickstart` makes one; then start the "
    "studio with `pocketfleet studio --run runs/quickstart`."
)
MOST_DIGITS = 2**53
"""Ids above are no numbers of JavaScript's."""

Offset = Annotated[int, Query(ge=0, le=MOST_DIGITS)]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS)]
DeviceId = Annotated[int, Path(ge=0, le=MOST_DIGITS)]


def phone_router(preview: "PhonePreview | None") -> APIRouter:
    """Return the routes of the phones of a run.

    Args:
        preview: the run; None: the list says how to get one, and there is no phone.
    """
    router = APIRouter(prefix="/api/phones")

    @router.get("", response_model=PhonePage)
    def phones(
        tier: str | None = None, offset: Offset = 0, limit: Limit = 20
    ) -> PhonePage | JSONResponse:
        if preview is None:
            return PhonePage(run=None, missing=HOW_TO_GET_ONE)
        try:
            return preview.page(tier, offset, limit)
        except DataError as error:
            return _refusal(error)

    @router.get("/{device_id}", response_model=PhoneView)
    def phone(device_id: DeviceId) -> PhoneView | JSONResponse:
        if preview is None:
            return JSONResponse({"error": HOW_TO_GET_ONE}, status_code=404)
        try:
            return preview.view(device_id)
        except DataError as error:
            return _refusal(error)

    return router


def _refusal(error: DataError) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=404)
