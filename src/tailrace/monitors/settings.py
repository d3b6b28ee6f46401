"""The settings of monitors and of what their notifiers send."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from tailrace.events.secrets import WithSecrets


class MailServer(WithSecrets, frozen=True):
    """The server that takes mail, none where the host is empty."""

    host: Annotated[
        str, Meta(description="Mail server that email notifiers hand their mail to; if empty, they deliver nothing.")
    ] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="TCP port of the mail server.")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(
            description="How the connection to the mail server is protected: by STARTTLS, by TLS from its beginning, "
            "not."
        ),
    ] = "starttls"
    user: Annotated[str, Meta(description="User name at the mail server; if empty, there is no login.")] = ""
    password: Annotated[str, Meta(description="Password at the mail server.", extra={"secret": "any text"})] = ""
    sender: Annotated[str, Meta(min_length=3, description="Address that mails of notifiers are from.")] = field(
        default="tailrace@localhost", name="from"
    )


class DeliverySettings(Struct, frozen=True):
    """Settings of the calls of notifiers."""

    private: Annotated[
        bool,
        Meta(description="Let notifiers call addresses that are not public: of this machine, of private networks."),
    ] = False
    timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="Longest call of a notifier, from connecting to the answer.")
    ] = 10.0
    mail: Annotated[MailServer, Meta(extra={"prefix": "smtp_"})] = MailServer()


class MonitorSettings(Struct, frozen=True):
    """Settings of the runner of monitors."""

    concurrency: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Monitors that run at the same time; further ones wait.",
            extra={"unit": "monitors"},
        ),
    ] = 2
    delivery: Annotated[DeliverySettings, Meta(extra={"prefix": "outgoing_"})] = DeliverySettings()
