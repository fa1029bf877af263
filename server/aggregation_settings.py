"""Settings of how the updates of a round become one, `[federation.aggregation]`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.errors import SettingsError


class AggregationSettings(BaseModel):
    """The rule (`server.robust_aggregation`), and whom it is to withstand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["mean", "trimmed-mean", "median", "krum", "multi-krum"] = Field(
        description="all but the mean look at single updates, so they want a node for each device"
    )
    feared_share: float = Field(
        ge=0, lt=0.5, description="devices of a round that may lie; mean and median do not ask"
    )

    def check(self, mechanism: str, mode: str, is_hidden: bool) -> None:
        """Refuse a rule where single updates cannot be compared.

        Args:
            mechanism: of `federation.privacy`.
            mode: of `federation.schedule`.
            is_hidden: whether `federation.secure_sum` is enabled.

        Raises:
            ValueError: with the reason, for pydantic to say where.
        """
        rule = self.rule
        if rule == "mean":
            return
        if is_hidden:
            raise ValueError(
                f'aggregation.rule is "{rule}" and secure_sum.enabled: {rule} compares single '
                "updates, and a secure sum is there so that nobody sees them; set rule to "
                '"mean", where clipping bounds what a device can do, or give up the secure sum'
            )
        if mechanism == "central":
            raise ValueError(
                f'aggregation.rule is "{rule}" and privacy.mechanism is "central": noise is as '
                "much as one device moves a sum, and nobody has shown how far it moves the "
                f'{rule}; set rule to "mean", or mechanism to "local"'
            )
        if mode == "buffered":
            raise ValueError(
                f'aggregation.rule is "{rule}" and schedule.mode is "buffered": a stale update '
                'weighs less in a mean and cannot in a comparison; set mode to "synchronous"'
            )

    def check_nodes(self, num_nodes: int, num_devices: int) -> None:
        """Refuse a rule where a node sends the sum of several devices.

        Raises:
            SettingsError: if one does.
        """
        largest = -(-num_devices // num_nodes)
        if self.rule != "mean" and largest > 1:
            raise SettingsError(
                f"federation.aggregation.rule is {self.rule}, which compares single updates, and a "
                f"node sends the sum of up to {largest:,} devices: set federation.num_nodes to "
                f"{num_devices:,}, so that each is a node (1,024 at most), or the rule to mean, "
                "where clipping bounds what a device can do"
            )
