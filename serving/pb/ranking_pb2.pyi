from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_CLICK: _ClassVar[Action]
    ACTION_SKIP: _ClassVar[Action]
    ACTION_CART: _ClassVar[Action]
    ACTION_PURCHASE: _ClassVar[Action]
    ACTION_DWELL: _ClassVar[Action]
    ACTION_HIDE: _ClassVar[Action]
    ACTION_OTHER: _ClassVar[Action]

class Rung(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNG_UNSPECIFIED: _ClassVar[Rung]
    RUNG_FULL: _ClassVar[Rung]
    RUNG_BEST_TEXT: _ClassVar[Rung]
    RUNG_CACHED_TEXT: _ClassVar[Rung]
    RUNG_BEHAVIOUR: _ClassVar[Rung]
    RUNG_POPULARITY: _ClassVar[Rung]

class RungReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNG_REASON_UNSPECIFIED: _ClassVar[RungReason]
    RUNG_REASON_DEADLINE: _ClassVar[RungReason]
    RUNG_REASON_LOAD: _ClassVar[RungReason]
    RUNG_REASON_FAULT: _ClassVar[RungReason]

class Degradation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADATION_UNSPECIFIED: _ClassVar[Degradation]
    DEGRADATION_NO_STATE: _ClassVar[Degradation]

class RejectionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECTION_REASON_UNSPECIFIED: _ClassVar[RejectionReason]
    REJECTION_REASON_MALFORMED: _ClassVar[RejectionReason]
    REJECTION_REASON_TOO_LATE: _ClassVar[RejectionReason]
    REJECTION_REASON_FUTURE: _ClassVar[RejectionReason]
    REJECTION_REASON_CONFLICT: _ClassVar[RejectionReason]

class GpuState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GPU_STATE_UNSPECIFIED: _ClassVar[GpuState]
    GPU_STATE_NONE: _ClassVar[GpuState]
    GPU_STATE_USED: _ClassVar[GpuState]
    GPU_STATE_RESTING: _ClassVar[GpuState]
    GPU_STATE_LOST: _ClassVar[GpuState]

class StoreState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STORE_STATE_UNSPECIFIED: _ClassVar[StoreState]
    STORE_STATE_OWN: _ClassVar[StoreState]
    STORE_STATE_UP_TO_DATE: _ClassVar[StoreState]
    STORE_STATE_BEHIND: _ClassVar[StoreState]
    STORE_STATE_AWAY: _ClassVar[StoreState]
ACTION_UNSPECIFIED: Action
ACTION_CLICK: Action
ACTION_SKIP: Action
ACTION_CART: Action
ACTION_PURCHASE: Action
ACTION_DWELL: Action
ACTION_HIDE: Action
ACTION_OTHER: Action
RUNG_UNSPECIFIED: Rung
RUNG_FULL: Rung
RUNG_BEST_TEXT: Rung
RUNG_CACHED_TEXT: Rung
RUNG_BEHAVIOUR: Rung
RUNG_POPULARITY: Rung
RUNG_REASON_UNSPECIFIED: RungReason
RUNG_REASON_DEADLINE: RungReason
RUNG_REASON_LOAD: RungReason
RUNG_REASON_FAULT: RungReason
DEGRADATION_UNSPECIFIED: Degradation
DEGRADATION_NO_STATE: Degradation
REJECTION_REASON_UNSPECIFIED: RejectionReason
REJECTION_REASON_MALFORMED: RejectionReason
REJECTION_REASON_TOO_LATE: RejectionReason
REJECTION_REASON_FUTURE: RejectionReason
REJECTION_REASON_CONFLICT: RejectionReason
GPU_STATE_UNSPECIFIED: GpuState
GPU_STATE_NONE: GpuState
GPU_STATE_USED: GpuState
GPU_STATE_RESTING: GpuState
GPU_STATE_LOST: GpuState
STORE_STATE_UNSPECIFIED: StoreState
STORE_STATE_OWN: StoreState
STORE_STATE_UP_TO_DATE: StoreState
STORE_STATE_BEHIND: StoreState
STORE_STATE_AWAY: StoreState

class ItemText(_message.Message):
    __slots__ = ("title", "description", "category", "tags")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    title: str
    description: str
    category: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, title: _Optional[str] = ..., description: _Optional[str] = ..., category: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("item_id", "text")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    text: ItemText
    def __init__(self, item_id: _Optional[str] = ..., text: _Optional[_Union[ItemText, _Mapping]] = ...) -> None: ...

class HistoryEntry(_message.Message):
    __slots__ = ("item_id", "action", "time_us")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    action: Action
    time_us: int
    def __init__(self, item_id: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ..., time_us: _Optional[int] = ...) -> None: ...

class History(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("request_id", "user_id", "candidates", "history", "query", "surface", "time_us", "top_k", "reasons_per_item", "candidate_ids", "bundle")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    REASONS_PER_ITEM_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_IDS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    user_id: str
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    history: History
    query: str
    surface: str
    time_us: int
    top_k: int
    reasons_per_item: int
    candidate_ids: _containers.RepeatedScalarFieldContainer[str]
    bundle: str
    def __init__(self, request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., history: _Optional[_Union[History, _Mapping]] = ..., query: _Optional[str] = ..., surface: _Optional[str] = ..., time_us: _Optional[int] = ..., top_k: _Optional[int] = ..., reasons_per_item: _Optional[int] = ..., candidate_ids: _Optional[_Iterable[str]] = ..., bundle: _Optional[str] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("feature", "value", "effect")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    feature: str
    value: float
    effect: float
    def __init__(self, feature: _Optional[str] = ..., value: _Optional[float] = ..., effect: _Optional[float] = ...) -> None: ...

class RankedItem(_message.Message):
    __slots__ = ("item_id", "score", "click_probability", "reasons")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    CLICK_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    score: float
    click_probability: float
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., click_probability: _Optional[float] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("request_id", "bundle_id", "items", "text_coverage", "unknown_items", "unknown_user", "stage_seconds", "items_without_text", "degraded", "state_versions", "columns", "rung", "rung_reason", "variant")
    class StageSecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class StateVersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TEXT_COVERAGE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ITEMS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_USER_FIELD_NUMBER: _ClassVar[int]
    STAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_WITHOUT_TEXT_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    STATE_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    RUNG_REASON_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    bundle_id: str
    items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    text_coverage: float
    unknown_items: _containers.RepeatedScalarFieldContainer[str]
    unknown_user: bool
    stage_seconds: _containers.ScalarMap[str, float]
    items_without_text: _containers.RepeatedScalarFieldContainer[str]
    degraded: _containers.RepeatedScalarFieldContainer[Degradation]
    state_versions: _containers.ScalarMap[str, int]
    columns: RankedColumns
    rung: Rung
    rung_reason: RungReason
    variant: str
    def __init__(self, request_id: _Optional[str] = ..., bundle_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., text_coverage: _Optional[float] = ..., unknown_items: _Optional[_Iterable[str]] = ..., unknown_user: bool = ..., stage_seconds: _Optional[_Mapping[str, float]] = ..., items_without_text: _Optional[_Iterable[str]] = ..., degraded: _Optional[_Iterable[_Union[Degradation, str]]] = ..., state_versions: _Optional[_Mapping[str, int]] = ..., columns: _Optional[_Union[RankedColumns, _Mapping]] = ..., rung: _Optional[_Union[Rung, str]] = ..., rung_reason: _Optional[_Union[RungReason, str]] = ..., variant: _Optional[str] = ...) -> None: ...

class RankedColumns(_message.Message):
    __slots__ = ("places", "scores", "click_probabilities")
    PLACES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    CLICK_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    places: _containers.RepeatedScalarFieldContainer[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    click_probabilities: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, places: _Optional[_Iterable[int]] = ..., scores: _Optional[_Iterable[float]] = ..., click_probabilities: _Optional[_Iterable[float]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("event_id", "time_us", "impression", "click", "interaction")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    IMPRESSION_FIELD_NUMBER: _ClassVar[int]
    CLICK_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    time_us: int
    impression: Impression
    click: Click
    interaction: Interaction
    def __init__(self, event_id: _Optional[str] = ..., time_us: _Optional[int] = ..., impression: _Optional[_Union[Impression, _Mapping]] = ..., click: _Optional[_Union[Click, _Mapping]] = ..., interaction: _Optional[_Union[Interaction, _Mapping]] = ...) -> None: ...

class Impression(_message.Message):
    __slots__ = ("request_id", "user_id", "item_ids", "surface", "query")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    user_id: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    surface: str
    query: str
    def __init__(self, request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., surface: _Optional[str] = ..., query: _Optional[str] = ...) -> None: ...

class Click(_message.Message):
    __slots__ = ("request_id", "item_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    item_id: str
    def __init__(self, request_id: _Optional[str] = ..., item_id: _Optional[str] = ...) -> None: ...

class Interaction(_message.Message):
    __slots__ = ("user_id", "item_id", "action")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    item_id: str
    action: Action
    def __init__(self, user_id: _Optional[str] = ..., item_id: _Optional[str] = ..., action: _Optional[_Union[Action, str]] = ...) -> None: ...

class RecordEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class RejectedEvent(_message.Message):
    __slots__ = ("position", "event_id", "reason", "message")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    position: int
    event_id: str
    reason: RejectionReason
    message: str
    def __init__(self, position: _Optional[int] = ..., event_id: _Optional[str] = ..., reason: _Optional[_Union[RejectionReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class RecordEventsResponse(_message.Message):
    __slots__ = ("accepted", "duplicates", "rejected", "sequence")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    duplicates: int
    rejected: _containers.RepeatedCompositeFieldContainer[RejectedEvent]
    sequence: int
    def __init__(self, accepted: _Optional[int] = ..., duplicates: _Optional[int] = ..., rejected: _Optional[_Iterable[_Union[RejectedEvent, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class StreamEventsResponse(_message.Message):
    __slots__ = ("accepted", "duplicates", "rejected", "first_rejected", "sequence")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    FIRST_REJECTED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    duplicates: int
    rejected: int
    first_rejected: _containers.RepeatedCompositeFieldContainer[RejectedEvent]
    sequence: int
    def __init__(self, accepted: _Optional[int] = ..., duplicates: _Optional[int] = ..., rejected: _Optional[int] = ..., first_rejected: _Optional[_Iterable[_Union[RejectedEvent, _Mapping]]] = ..., sequence: _Optional[int] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("item_id", "text", "published_us", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Attribute
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Attribute, _Mapping]] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_US_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    text: ItemText
    published_us: int
    attributes: _containers.MessageMap[str, Attribute]
    def __init__(self, item_id: _Optional[str] = ..., text: _Optional[_Union[ItemText, _Mapping]] = ..., published_us: _Optional[int] = ..., attributes: _Optional[_Mapping[str, Attribute]] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("number", "flag", "text", "texts")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    number: float
    flag: bool
    text: str
    texts: Texts
    def __init__(self, number: _Optional[float] = ..., flag: bool = ..., text: _Optional[str] = ..., texts: _Optional[_Union[Texts, _Mapping]] = ...) -> None: ...

class Texts(_message.Message):
    __slots__ = ("texts",)
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, texts: _Optional[_Iterable[str]] = ...) -> None: ...

class UpsertItemsRequest(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ...) -> None: ...

class UpsertItemsResponse(_message.Message):
    __slots__ = ("changed", "pending_texts")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    PENDING_TEXTS_FIELD_NUMBER: _ClassVar[int]
    changed: int
    pending_texts: int
    def __init__(self, changed: _Optional[int] = ..., pending_texts: _Optional[int] = ...) -> None: ...

class DeleteItemsRequest(_message.Message):
    __slots__ = ("item_ids",)
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteItemsResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...

class GetModelInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelInfoResponse(_message.Message):
    __slots__ = ("bundle_id", "created_us", "metrics", "feature_names", "text_model_fingerprint", "history_length", "providers", "code_version")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_NAMES_FIELD_NUMBER: _ClassVar[int]
    TEXT_MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_LENGTH_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    CODE_VERSION_FIELD_NUMBER: _ClassVar[int]
    bundle_id: str
    created_us: int
    metrics: _containers.ScalarMap[str, float]
    feature_names: _containers.RepeatedScalarFieldContainer[str]
    text_model_fingerprint: str
    history_length: int
    providers: _containers.RepeatedScalarFieldContainer[str]
    code_version: str
    def __init__(self, bundle_id: _Optional[str] = ..., created_us: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., feature_names: _Optional[_Iterable[str]] = ..., text_model_fingerprint: _Optional[str] = ..., history_length: _Optional[int] = ..., providers: _Optional[_Iterable[str]] = ..., code_version: _Optional[str] = ...) -> None: ...

class SwapRequest(_message.Message):
    __slots__ = ("any_order",)
    ANY_ORDER_FIELD_NUMBER: _ClassVar[int]
    any_order: bool
    def __init__(self, any_order: bool = ...) -> None: ...

class SwapResponse(_message.Message):
    __slots__ = ("bundle_id", "previous_bundle_id", "seconds")
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    bundle_id: str
    previous_bundle_id: str
    seconds: float
    def __init__(self, bundle_id: _Optional[str] = ..., previous_bundle_id: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RollbackResponse(_message.Message):
    __slots__ = ("bundle_id",)
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    bundle_id: str
    def __init__(self, bundle_id: _Optional[str] = ...) -> None: ...

class SetShadowRequest(_message.Message):
    __slots__ = ("bundle_id", "share")
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    bundle_id: str
    share: float
    def __init__(self, bundle_id: _Optional[str] = ..., share: _Optional[float] = ...) -> None: ...

class SetShadowResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Variant(_message.Message):
    __slots__ = ("name", "bundle_id", "share")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    name: str
    bundle_id: str
    share: float
    def __init__(self, name: _Optional[str] = ..., bundle_id: _Optional[str] = ..., share: _Optional[float] = ...) -> None: ...

class SetVariantsRequest(_message.Message):
    __slots__ = ("variants", "salt")
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    variants: _containers.RepeatedCompositeFieldContainer[Variant]
    salt: str
    def __init__(self, variants: _Optional[_Iterable[_Union[Variant, _Mapping]]] = ..., salt: _Optional[str] = ...) -> None: ...

class SetVariantsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("bundle_id", "created_us", "code_version", "current_bundle_id", "previous_bundle_id", "uptime_seconds", "load_seconds", "state_versions", "state_age_seconds", "event_log_sequence", "store", "in_flight", "queue_length", "methods", "degraded", "pending_texts", "memory_bytes", "shed", "in_flight_limit", "bundles", "variants", "shadow", "last_swap", "last_refusal", "preparing_bundle_id", "gpu", "gpu_faults")
    class StateVersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DegradedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ShedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    CODE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CURRENT_BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LOAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STATE_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    STATE_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_LOG_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PENDING_TEXTS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHED_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_LIMIT_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    LAST_SWAP_FIELD_NUMBER: _ClassVar[int]
    LAST_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    PREPARING_BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    GPU_FAULTS_FIELD_NUMBER: _ClassVar[int]
    bundle_id: str
    created_us: int
    code_version: str
    current_bundle_id: str
    previous_bundle_id: str
    uptime_seconds: float
    load_seconds: float
    state_versions: _containers.ScalarMap[str, int]
    state_age_seconds: float
    event_log_sequence: int
    store: StoreState
    in_flight: int
    queue_length: int
    methods: _containers.RepeatedCompositeFieldContainer[MethodStatus]
    degraded: _containers.ScalarMap[str, int]
    pending_texts: int
    memory_bytes: int
    shed: _containers.ScalarMap[str, int]
    in_flight_limit: int
    bundles: _containers.RepeatedCompositeFieldContainer[LoadedBundle]
    variants: _containers.RepeatedCompositeFieldContainer[Variant]
    shadow: ShadowStatus
    last_swap: SwapStatus
    last_refusal: SwapStatus
    preparing_bundle_id: str
    gpu: GpuState
    gpu_faults: int
    def __init__(self, bundle_id: _Optional[str] = ..., created_us: _Optional[int] = ..., code_version: _Optional[str] = ..., current_bundle_id: _Optional[str] = ..., previous_bundle_id: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., load_seconds: _Optional[float] = ..., state_versions: _Optional[_Mapping[str, int]] = ..., state_age_seconds: _Optional[float] = ..., event_log_sequence: _Optional[int] = ..., store: _Optional[_Union[StoreState, str]] = ..., in_flight: _Optional[int] = ..., queue_length: _Optional[int] = ..., methods: _Optional[_Iterable[_Union[MethodStatus, _Mapping]]] = ..., degraded: _Optional[_Mapping[str, int]] = ..., pending_texts: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., shed: _Optional[_Mapping[str, int]] = ..., in_flight_limit: _Optional[int] = ..., bundles: _Optional[_Iterable[_Union[LoadedBundle, _Mapping]]] = ..., variants: _Optional[_Iterable[_Union[Variant, _Mapping]]] = ..., shadow: _Optional[_Union[ShadowStatus, _Mapping]] = ..., last_swap: _Optional[_Union[SwapStatus, _Mapping]] = ..., last_refusal: _Optional[_Union[SwapStatus, _Mapping]] = ..., preparing_bundle_id: _Optional[str] = ..., gpu: _Optional[_Union[GpuState, str]] = ..., gpu_faults: _Optional[int] = ...) -> None: ...

class LoadedBundle(_message.Message):
    __slots__ = ("bundle_id", "roles", "in_flight", "rankings", "failed", "load_seconds")
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    RANKINGS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    LOAD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    bundle_id: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    in_flight: int
    rankings: int
    failed: int
    load_seconds: float
    def __init__(self, bundle_id: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., in_flight: _Optional[int] = ..., rankings: _Optional[int] = ..., failed: _Optional[int] = ..., load_seconds: _Optional[float] = ...) -> None: ...

class ShadowStatus(_message.Message):
    __slots__ = ("bundle_id", "share", "ranked", "dropped", "failed", "top_overlap", "kendall_tau", "p50_seconds", "answer_p50_seconds")
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    RANKED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TOP_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    KENDALL_TAU_FIELD_NUMBER: _ClassVar[int]
    P50_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_P50_SECONDS_FIELD_NUMBER: _ClassVar[int]
    bundle_id: str
    share: float
    ranked: int
    dropped: int
    failed: int
    top_overlap: float
    kendall_tau: float
    p50_seconds: float
    answer_p50_seconds: float
    def __init__(self, bundle_id: _Optional[str] = ..., share: _Optional[float] = ..., ranked: _Optional[int] = ..., dropped: _Optional[int] = ..., failed: _Optional[int] = ..., top_overlap: _Optional[float] = ..., kendall_tau: _Optional[float] = ..., p50_seconds: _Optional[float] = ..., answer_p50_seconds: _Optional[float] = ...) -> None: ...

class SwapStatus(_message.Message):
    __slots__ = ("bundle_id", "from_bundle_id", "time_us", "seconds", "reason")
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    bundle_id: str
    from_bundle_id: str
    time_us: int
    seconds: float
    reason: str
    def __init__(self, bundle_id: _Optional[str] = ..., from_bundle_id: _Optional[str] = ..., time_us: _Optional[int] = ..., seconds: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class MethodStatus(_message.Message):
    __slots__ = ("method", "calls", "failed", "refused", "p50_seconds", "p99_seconds")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    P50_SECONDS_FIELD_NUMBER: _ClassVar[int]
    P99_SECONDS_FIELD_NUMBER: _ClassVar[int]
    method: str
    calls: int
    failed: int
    refused: int
    p50_seconds: float
    p99_seconds: float
    def __init__(self, method: _Optional[str] = ..., calls: _Optional[int] = ..., failed: _Optional[int] = ..., refused: _Optional[int] = ..., p50_seconds: _Optional[float] = ..., p99_seconds: _Optional[float] = ...) -> None: ...
