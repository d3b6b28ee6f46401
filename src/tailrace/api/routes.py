"""Every route of the API, from the modules that answer them."""

from typing import Final

from tailrace.api import (
    annotations,
    apl,
    dashboards,
    datasets,
    docs,
    fields,
    health,
    history,
    keys,
    monitors,
    notifiers,
    organisations,
    rbac,
    refusals,
    sql,
    starred,
    statistics,
    tail,
    tokens,
    upkeep,
    users,
    vfields,
    views,
)
from tailrace.api.route import ApiRoute

# In the order of the document. The first route that fits a request answers it: those of names that a dataset could
# have, as in /v1/datasets/_fields, are before those of one dataset.
ROUTES: Final[tuple[ApiRoute, ...]] = (
    *apl.ROUTES,
    *statistics.ROUTES,
    *history.ROUTES,
    *upkeep.ROUTES,
    *vfields.ROUTES,
    *datasets.ROUTES,
    *fields.ROUTES,
    *annotations.ROUTES,
    *starred.ROUTES,
    *views.ROUTES,
    *dashboards.ROUTES,
    *rbac.ROUTES,
    *notifiers.ROUTES,
    *monitors.ROUTES,
    *tokens.ROUTES,
    *users.ROUTES,
    *organisations.ROUTES,
    *keys.ROUTES,
    *sql.ROUTES,
    *tail.ROUTES,
    *docs.ROUTES,
    *health.ROUTES,
    *refusals.ROUTES,
)
