"""A small actor runtime on trio: bounded mailboxes, one-shot replies, supervision, a directory."""

from actors.directory import Directory, DirectoryStatistics
from actors.errors import ActorStopped, Overloaded
from actors.mailbox import Envelope, Mailbox, MailboxStatistics
from actors.policy import RestartPolicy
from actors.reply import Reply
from actors.supervision import Behaviour, contain

__all__ = [
    "ActorStopped",
    "Behaviour",
    "Directory",
    "DirectoryStatistics",
    "Envelope",
    "Mailbox",
    "MailboxStatistics",
    "Overloaded",
    "Reply",
    "RestartPolicy",
    "contain",
]
