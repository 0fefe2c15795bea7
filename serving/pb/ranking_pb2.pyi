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
ACTION_UNSPECIFIED: Action
ACTION_CLICK: Action
ACTION_SKIP: Action
ACTION_CART: Action
ACTION_PURCHASE: Action
ACTION_DWELL: Action
ACTION_HIDE: Action
ACTION_OTHER: Action

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
    __slots__ = ("request_id", "user_id", "candidates", "history", "query", "surface", "time_us", "top_k", "reasons_per_item")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    REASONS_PER_ITEM_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    user_id: str
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    history: History
    query: str
    surface: str
    time_us: int
    top_k: int
    reasons_per_item: int
    def __init__(self, request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., history: _Optional[_Union[History, _Mapping]] = ..., query: _Optional[str] = ..., surface: _Optional[str] = ..., time_us: _Optional[int] = ..., top_k: _Optional[int] = ..., reasons_per_item: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("request_id", "bundle_id", "items", "text_coverage", "unknown_items", "unknown_user", "stage_seconds")
    class StageSecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TEXT_COVERAGE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ITEMS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_USER_FIELD_NUMBER: _ClassVar[int]
    STAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    bundle_id: str
    items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    text_coverage: float
    unknown_items: _containers.RepeatedScalarFieldContainer[str]
    unknown_user: bool
    stage_seconds: _containers.ScalarMap[str, float]
    def __init__(self, request_id: _Optional[str] = ..., bundle_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., text_coverage: _Optional[float] = ..., unknown_items: _Optional[_Iterable[str]] = ..., unknown_user: bool = ..., stage_seconds: _Optional[_Mapping[str, float]] = ...) -> None: ...

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
