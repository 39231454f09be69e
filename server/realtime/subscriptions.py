"""What one connection watches: its topics, each with a watch of the gateway."""

from __future__ import annotations

from penstock.protocol.envelope import Topic
from penstock.protocol.errors import ServerBusy
from penstock.protocol.pushes import PushEncoder, is_important
from penstock.server.uploads.gateway import Gateway
from penstock.server.uploads.ring import Entry
from penstock.server.uploads.watch import Watch

MAX_TOPICS = 100  # a round of the writer looks at each of them


class Subscription:
    """One topic. `topic` is as its watcher may know it: with a watch key, it says nothing but that key."""

    def __init__(self, topic: Topic, watch: Watch, language: str) -> None:
        self.topic = topic
        self.watch = watch
        self.acked = False  # nothing is pushed before its client knows that it is subscribed
        self.left = False
        self.wants_acks = False
        self.encoder = PushEncoder(topic, language)

    @property
    def has_shared_frames(self) -> bool:
        """Whether all it is told is the same for others, and nothing has to be acknowledged."""
        return self.topic.file_id is None and not self.wants_acks

    def is_live(self) -> bool:
        return self.acked and not self.left

    def frames(self, entry: Entry) -> list[bytes]:
        """An entry as this topic's watchers see it: encoded once for all of them, where that is possible."""
        if all(self.encoder.is_shared(event) for event in entry.events):
            return entry.frames(self.encoder)
        return [self.encoder.encode(event) for event in entry.events]

    def ids_to_ack(self, entry: Entry) -> list[str | None]:
        """Of each event's message: its id if its watcher shall acknowledge it."""
        return [
            self.encoder.message_id(event) if self.wants_acks and is_important(event) else None
            for event in entry.events
        ]


class Subscriptions:
    """By the topic as the client named it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._by_topic: dict[Topic, Subscription] = {}

    def __len__(self) -> int:
        return len(self._by_topic)

    def get(self, topic: Topic) -> Subscription | None:
        return self._by_topic.get(topic)

    def live(self) -> list[Subscription]:
        return [subscription for subscription in self._by_topic.values() if subscription.is_live()]

    @property
    def watches(self) -> list[Watch]:
        return [subscription.watch for subscription in self._by_topic.values()]

    def check_room(self) -> None:
        """Raises: ServerBusy."""
        if len(self._by_topic) >= MAX_TOPICS:
            raise ServerBusy(
                f"at most {MAX_TOPICS} topics per connection; unsubscribe from one, or connect again",
                details={"maxTopics": MAX_TOPICS},
            )

    def add(self, topic: Topic, subscription: Subscription) -> None:
        self._by_topic[topic] = subscription

    def remove(self, topic: Topic) -> None:
        """Leave a topic. Idempotent."""
        subscription = self._by_topic.pop(topic, None)
        if subscription is not None:
            subscription.left = True
            self._gateway.leave(subscription.watch)

    def drop_ended(self, subscription: Subscription) -> None:
        """Leave the topic of a session that has left memory."""
        for topic in [topic for topic, known in self._by_topic.items() if known is subscription]:
            self.remove(topic)

    def remove_all(self) -> None:
        for topic in list(self._by_topic):
            self.remove(topic)
