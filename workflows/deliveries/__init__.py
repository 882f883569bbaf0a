"""Deliveries: messages about events of the outbox, sent to destinations and people.

service.py             what people do: create, change, pause, test and delete destinations, replay
following.py           what people do: follow, unfollow, read notifications
recipients.py          who is notified of an event
notification_texts.py  titles of notifications, and the texts of mail
mail.py                mail to a person
daily_mail.py          the mail of a day
personal_chat.py       the chat of a person: set, test, remove
expansion.py           a delivery per event and interested destination, by one process at a time
payloads.py            the body of a message
owner_permissions.py   what the owner of a destination may see
delivery_queue.py      rows of the sender: lease of a destination, next message, results
backoff.py             when to try again, when to suspend a destination, when to give up
chat.py                messages to chats; chat_process.py is the child that makes the requests
webhook_requests.py    the signed HTTP request
retention.py           deletes what is old
deliverer.py           sends what is due, to several destinations at once
"""
