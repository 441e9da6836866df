CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_keys (
    id character varying(40) NOT NULL COLLATE pg_catalog."C",
    subscriber_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    sha256 character varying(64) NOT NULL COLLATE pg_catalog."C",
    hint character varying(16) NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    revoked_at bigint
);
CREATE TABLE public.attempts (
    delivery_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    number integer NOT NULL,
    id character varying(40) NOT NULL COLLATE pg_catalog."C",
    started_at bigint NOT NULL,
    duration bigint,
    status_code integer,
    error character varying(32) COLLATE pg_catalog."C",
    detail character varying(500),
    response_body text
);
CREATE TABLE public.bulk_retries (
    id character varying(40) NOT NULL COLLATE pg_catalog."C",
    subscriber_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    status character varying(16) NOT NULL COLLATE pg_catalog."C",
    endpoint_id character varying(40) COLLATE pg_catalog."C",
    to_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    after_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    retried integer NOT NULL,
    due_at bigint,
    created_at bigint NOT NULL
);
CREATE TABLE public.counters (
    name character varying(64) NOT NULL COLLATE pg_catalog."C",
    label character varying(64) NOT NULL COLLATE pg_catalog."C",
    value bigint NOT NULL
);
CREATE TABLE public.deliveries (
    id character varying(40) NOT NULL COLLATE pg_catalog."C",
    subscriber_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    watch_id character varying(40) COLLATE pg_catalog."C",
    endpoint_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    event character varying(32) NOT NULL COLLATE pg_catalog."C",
    status character varying(16) NOT NULL COLLATE pg_catalog."C",
    due_at bigint,
    solo_at bigint,
    token character varying(32) COLLATE pg_catalog."C",
    attempt_count integer NOT NULL,
    lost_count integer NOT NULL,
    since bigint NOT NULL,
    content text,
    step integer NOT NULL,
    cancel_requested smallint NOT NULL,
    payload_bytes bigint NOT NULL,
    last_error character varying(500),
    created_at bigint NOT NULL,
    delivered_at bigint,
    finished_at bigint,
    CONSTRAINT ck_deliveries_claim CHECK (((token IS NULL) OR ((status)::text = 'pending'::text))),
    CONSTRAINT ck_deliveries_delivered CHECK ((((status)::text = 'delivered'::text) <= (delivered_at IS NOT NULL))),
    CONSTRAINT ck_deliveries_due CHECK ((((status)::text = 'pending'::text) = ((due_at IS NOT NULL) OR (solo_at IS NOT NULL)))),
    CONSTRAINT ck_deliveries_event CHECK (((event)::text = ANY ((ARRAY['ai_job.success'::character varying, 'ai_job.fail'::character varying, 'ai_job.missing'::character varying, 'watch.expired'::character varying, 'endpoint.disabled'::character varying, 'relay.test'::character varying])::text[]))),
    CONSTRAINT ck_deliveries_finished CHECK ((((status)::text = 'pending'::text) = (finished_at IS NULL))),
    CONSTRAINT ck_deliveries_solo CHECK (((due_at IS NULL) OR (solo_at IS NULL))),
    CONSTRAINT ck_deliveries_status CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'delivered'::character varying, 'failed'::character varying, 'cancelled'::character varying])::text[])))
);
CREATE TABLE public.delivery_listings (
    delivery_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    subscriber_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    endpoint_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    watch_id character varying(40) COLLATE pg_catalog."C"
);
CREATE TABLE public.endpoints (
    id character varying(40) NOT NULL COLLATE pg_catalog."C",
    subscriber_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    url character varying(2048) NOT NULL,
    url_key character varying(64) COLLATE pg_catalog."C",
    description character varying(500),
    headers_sealed text,
    status character varying(16) NOT NULL COLLATE pg_catalog."C",
    disabled_reason character varying(40) COLLATE pg_catalog."C",
    max_in_flight integer NOT NULL,
    rate_per_second double precision,
    ready_at bigint,
    not_before bigint NOT NULL,
    proven smallint NOT NULL,
    allowance integer NOT NULL,
    failure_streak integer NOT NULL,
    failing_since bigint,
    opened_at bigint,
    open_until bigint NOT NULL,
    probe_count integer NOT NULL,
    recovered_at bigint,
    held_at bigint,
    notices smallint NOT NULL,
    notice_at bigint,
    last_error character varying(500),
    created_at bigint NOT NULL,
    deleted_at bigint,
    blocked_since bigint,
    CONSTRAINT ck_endpoints_deleted CHECK (((deleted_at IS NULL) = (url_key IS NOT NULL))),
    CONSTRAINT ck_endpoints_held CHECK ((((status)::text = 'active'::text) = (held_at IS NULL))),
    CONSTRAINT ck_endpoints_pace CHECK (((allowance >= 1) AND (max_in_flight >= 1))),
    CONSTRAINT ck_endpoints_ready CHECK (((ready_at IS NULL) OR (((status)::text = 'active'::text) AND (deleted_at IS NULL)))),
    CONSTRAINT ck_endpoints_status CHECK (((status)::text = ANY ((ARRAY['active'::character varying, 'paused'::character varying, 'disabled'::character varying])::text[])))
);
CREATE TABLE public.idempotent_answers (
    key character varying(64) NOT NULL COLLATE pg_catalog."C",
    body_sha256 character varying(64) NOT NULL COLLATE pg_catalog."C",
    status integer,
    sealed smallint NOT NULL,
    answer text,
    created_at bigint NOT NULL
);
CREATE TABLE public.job_types (
    source character varying(32) NOT NULL COLLATE pg_catalog."C",
    name character varying(64) NOT NULL COLLATE pg_catalog."C",
    durations text NOT NULL
);
CREATE TABLE public.jobs (
    id bigint NOT NULL,
    source character varying(32) NOT NULL COLLATE pg_catalog."C",
    job_id character varying(64) NOT NULL COLLATE pg_catalog."C",
    status character varying(16) NOT NULL COLLATE pg_catalog."C",
    type text,
    code text,
    message text,
    media_id text,
    creation_time text,
    complete_time text,
    data text,
    data_bytes bigint NOT NULL,
    data_is_json smallint NOT NULL,
    owner character varying(40) COLLATE pg_catalog."C",
    due_at bigint,
    token character varying(32) COLLATE pg_catalog."C",
    attempt_count integer NOT NULL,
    lost_count integer NOT NULL,
    missing_count integer NOT NULL,
    polled_at bigint,
    hinted_at bigint,
    hint_polls integer,
    created_at bigint NOT NULL,
    finished_at bigint,
    CONSTRAINT ck_jobs_claim CHECK (((token IS NULL) OR (due_at IS NOT NULL))),
    CONSTRAINT ck_jobs_due CHECK ((((status)::text = 'open'::text) OR (due_at IS NULL))),
    CONSTRAINT ck_jobs_finished CHECK ((((status)::text = 'open'::text) = (finished_at IS NULL))),
    CONSTRAINT ck_jobs_hint CHECK (((hinted_at IS NULL) = (hint_polls IS NULL))),
    CONSTRAINT ck_jobs_owner CHECK (((owner IS NULL) OR (due_at IS NOT NULL))),
    CONSTRAINT ck_jobs_status CHECK (((status)::text = ANY ((ARRAY['open'::character varying, 'success'::character varying, 'fail'::character varying])::text[])))
);
CREATE SEQUENCE public.jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.jobs_id_seq OWNED BY public.jobs.id;
CREATE TABLE public.poll_policies (
    source character varying(32) NOT NULL COLLATE pg_catalog."C",
    refreshed_at bigint NOT NULL,
    newest_job bigint NOT NULL,
    new_jobs double precision NOT NULL,
    shares text NOT NULL
);
CREATE TABLE public.signing_secrets (
    id character varying(40) NOT NULL COLLATE pg_catalog."C",
    subscriber_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    endpoint_id character varying(40) COLLATE pg_catalog."C",
    sealed text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint
);
CREATE TABLE public.subscribers (
    id character varying(40) NOT NULL COLLATE pg_catalog."C",
    name character varying(100) NOT NULL,
    created_at bigint NOT NULL,
    disabled_at bigint
);
CREATE TABLE public.upstreams (
    source character varying(32) NOT NULL COLLATE pg_catalog."C",
    next_call_at bigint NOT NULL,
    rate_factor double precision NOT NULL,
    slowed_at bigint NOT NULL,
    turn character varying(40) NOT NULL COLLATE pg_catalog."C",
    failure_streak integer NOT NULL,
    failed_at bigint NOT NULL,
    down_since bigint,
    error_code character varying(200),
    error_detail character varying(500),
    answered_at bigint,
    CONSTRAINT ck_upstreams_rate CHECK (((rate_factor > (0)::double precision) AND (rate_factor <= (1)::double precision)))
);
CREATE TABLE public.watches (
    id character varying(40) NOT NULL COLLATE pg_catalog."C",
    subscriber_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    job bigint NOT NULL,
    endpoint_id character varying(40) NOT NULL COLLATE pg_catalog."C",
    query character varying(2048),
    events character varying(100) NOT NULL COLLATE pg_catalog."C",
    user_metadata text NOT NULL,
    status character varying(16) NOT NULL COLLATE pg_catalog."C",
    waiting_key character varying(64) COLLATE pg_catalog."C",
    missing_base integer NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    due_at bigint,
    finished_at bigint,
    CONSTRAINT ck_watches_due CHECK ((((status)::text = 'waiting'::text) = (due_at IS NOT NULL))),
    CONSTRAINT ck_watches_finished CHECK ((((status)::text = 'waiting'::text) = (finished_at IS NULL))),
    CONSTRAINT ck_watches_status CHECK (((status)::text = ANY ((ARRAY['waiting'::character varying, 'success'::character varying, 'fail'::character varying, 'missing'::character varying, 'expired'::character varying, 'cancelled'::character varying])::text[]))),
    CONSTRAINT ck_watches_waiting CHECK ((((status)::text = 'waiting'::text) = (waiting_key IS NOT NULL)))
);
ALTER TABLE ONLY public.jobs ALTER COLUMN id SET DEFAULT nextval('public.jobs_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES
	('0004');
INSERT INTO public.api_keys VALUES
	('key_019ab697e8007000939b0dd3669814fd', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'cb57cc192adf217218548bc88719c0cd5fb9713182349e6cea60bf48f1d9a263', 'rk_gYG73op', 1764000000000000, NULL),
	('key_019ab697e8007000857084486cf690e9', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'cda14bd3fc502f8f51d1f652e03b9d00d844af67bec7cda68524f1b43e962796', 'rk_FHC_km6', 1764000000000000, 1764000000000000);
INSERT INTO public.attempts VALUES
	('msg_019ab698d6487000a5017f9dc2c8f6c3', 1, 'att_019ab698d6487000b7a8d87ff02b851c', 1764000061000000, 1000, 200, NULL, NULL, 'ok'),
	('msg_019ab698d6487000b9775c5c5dba2996', 1, 'att_019ab698d648700080fdd543d8feb31a', 1764000061000000, 1000, 200, NULL, NULL, 'ok'),
	('msg_019ab698d64870008a2f8ba42b8863e9', 1, 'att_019ab698d648700094a7d230520e5651', 1764000061000000, 1000, 200, NULL, NULL, 'ok'),
	('msg_019ab698d64870009465dfeca039bf59', 1, 'att_019ab698d648700097b974aa2070bf8e', 1764000061000000, 1000, 200, NULL, NULL, 'ok'),
	('msg_019ab698d64870008fbdb8b50472d1e5', 1, 'att_019ab699c490700081bbc6da1168177c', 1764000122000000, NULL, NULL, 'lost', 'the process that sent this ended before the answer was recorded', NULL);
INSERT INTO public.bulk_retries VALUES
	('bulk_019ab699c87870008fe4da7df8c84f44', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'failed', NULL, 'msg_019ab699c87870008000000000000000', 'msg_00000000000070008000000000000000', 0, 1764000123000000, 1764000123000000);
INSERT INTO public.counters VALUES
	('secret_rotations', '', 1),
	('relay_watches_registered_total', '', 7);
INSERT INTO public.deliveries VALUES
	('msg_019ab698d6487000a5017f9dc2c8f6c3', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab697e80070009e6adf1af2544e24', 'ep_019ab697e8007000a0b8ba81c7be498b', 'watch.expired', 'delivered', NULL, NULL, NULL, 1, 0, 1764000061000000, NULL, 0, 0, 2, NULL, 1764000061000000, 1764000061000000, 1764000061000000),
	('msg_019ab698d6487000b9775c5c5dba2996', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab698d6487000b29a60e3920095da', 'ep_019ab697e8007000a0b8ba81c7be498b', 'ai_job.fail', 'delivered', NULL, NULL, NULL, 1, 0, 1764000061000000, NULL, 0, 0, 2, NULL, 1764000061000000, 1764000061000000, 1764000061000000),
	('msg_019ab698d64870008a2f8ba42b8863e9', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab698d6487000b7b05403000f7f7e', 'ep_019ab698d64870008d73e00f8b8b2e40', 'ai_job.success', 'delivered', NULL, NULL, NULL, 1, 0, 1764000061000000, NULL, 0, 0, 2, NULL, 1764000061000000, 1764000061000000, 1764000061000000),
	('msg_019ab698d64870009465dfeca039bf59', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab698d6487000a1ffee37343bf7bd', 'ep_019ab697e8007000a0b8ba81c7be498b', 'ai_job.missing', 'delivered', NULL, NULL, NULL, 1, 0, 1764000061000000, NULL, 0, 0, 2, NULL, 1764000061000000, 1764000061000000, 1764000061000000),
	('msg_019ab698d64870008fbdb8b50472d1e5', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab698d648700095f239bb395602bd', 'ep_019ab698d6487000b690ce7e85e3e261', 'ai_job.success', 'pending', 1764000182000000, NULL, '3ba0a2e84bab330188c337816e5752eb', 2, 1, 1764000061000000, NULL, 0, 0, 2, NULL, 1764000061000000, NULL, NULL),
	('msg_019ab699c4907000a32ea190c0362883', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c49070009eb60f817a998ea6', 'ep_019ab699c4907000894fe3f284607b73', 'ai_job.success', 'pending', 1764000122000000, NULL, NULL, 0, 0, 1764000122000000, NULL, 0, 0, 2, NULL, 1764000122000000, NULL, NULL),
	('msg_019ab699c490700099d89dba51baf93c', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c4907000b6418d6459fb5301', 'ep_019ab699c4907000894fe3f284607b73', 'ai_job.success', 'pending', 1764000122000000, NULL, NULL, 0, 0, 1764000122000000, NULL, 0, 0, 2, NULL, 1764000122000000, NULL, NULL),
	('msg_019ab699c4907000bc54ef617d47cbf4', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c4907000b16e33116b9ece34', 'ep_019ab699c490700095b587a33bf48f67', 'ai_job.success', 'pending', 1764000122000000, NULL, NULL, 0, 0, 1764000122000000, NULL, 0, 0, 2, NULL, 1764000122000000, NULL, NULL),
	('msg_019ab699c4907000a18f99e166613df8', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c49070008ce31edf1fa81940', 'ep_019ab699c49070008f4a1c7d29acc705', 'ai_job.success', 'pending', 1764000122000000, NULL, NULL, 0, 0, 1764000122000000, NULL, 0, 0, 2, NULL, 1764000122000000, NULL, NULL),
	('msg_019ab699c49070008e4812440bbbc847', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c49070009744411f66be9686', 'ep_019ab699c4907000ba12918f6d9c5c62', 'ai_job.success', 'pending', 1764000122000000, NULL, NULL, 0, 0, 1764000122000000, NULL, 0, 0, 2, NULL, 1764000122000000, NULL, NULL),
	('msg_019ab699c4907000914fbae211e277eb', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c490700090c2825a3037429d', 'ep_019ab699c4907000b9272b13bab0993f', 'ai_job.success', 'cancelled', NULL, NULL, NULL, 0, 0, 1764000122000000, NULL, 0, 0, 2, NULL, 1764000122000000, NULL, 1764000122000000),
	('msg_019ab699c4907000ab6e45d57b2afb6b', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c49070008d8173366a12567e', 'ep_019ab699c4907000a4bce4bd2e7de325', 'ai_job.success', 'failed', NULL, NULL, NULL, 0, 0, 1764000122000000, NULL, 3, 0, 2, '500', 1764000122000000, NULL, 1764000122000000),
	('msg_019ab699c490700091f0d39c398fe731', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c49070008e256c002a54247e', 'ep_019ab699c4907000a4bce4bd2e7de325', 'ai_job.success', 'failed', NULL, NULL, NULL, 0, 0, 1764000122000000, NULL, 3, 0, 2, '500', 1764000122000000, NULL, 1764000122000000),
	('msg_019ab699c4907000a311ae70f7441960', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'wat_019ab699c4907000b652221527982219', 'ep_019ab699c4907000a4bce4bd2e7de325', 'ai_job.success', 'failed', NULL, NULL, NULL, 0, 0, 1764000122000000, NULL, 3, 0, 2, '500', 1764000122000000, NULL, 1764000122000000),
	('msg_019ab699c87870008973d09792fd96f6', 'sub_019ab697e8007000a6c65c5cb50daf3f', NULL, 'ep_019ab697e8007000ba2e0ecc064ffa32', 'relay.test', 'pending', NULL, 1764000123000000, NULL, 0, 0, 1764000123000000, '{"endpoint_id": "ep_019ab697e8007000ba2e0ecc064ffa32", "message": "A test from Relay: this endpoint can be reached."}', 0, 0, 0, NULL, 1764000123000000, NULL, NULL);
INSERT INTO public.delivery_listings VALUES
	('msg_019ab698d6487000a5017f9dc2c8f6c3', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab697e8007000a0b8ba81c7be498b', 'wat_019ab697e80070009e6adf1af2544e24'),
	('msg_019ab698d6487000b9775c5c5dba2996', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab697e8007000a0b8ba81c7be498b', 'wat_019ab698d6487000b29a60e3920095da'),
	('msg_019ab698d64870009465dfeca039bf59', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab697e8007000a0b8ba81c7be498b', 'wat_019ab698d6487000a1ffee37343bf7bd'),
	('msg_019ab698d64870008a2f8ba42b8863e9', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab698d64870008d73e00f8b8b2e40', 'wat_019ab698d6487000b7b05403000f7f7e'),
	('msg_019ab698d64870008fbdb8b50472d1e5', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab698d6487000b690ce7e85e3e261', 'wat_019ab698d648700095f239bb395602bd'),
	('msg_019ab699c4907000a32ea190c0362883', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c4907000894fe3f284607b73', 'wat_019ab699c49070009eb60f817a998ea6'),
	('msg_019ab699c490700099d89dba51baf93c', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c4907000894fe3f284607b73', 'wat_019ab699c4907000b6418d6459fb5301'),
	('msg_019ab699c4907000bc54ef617d47cbf4', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c490700095b587a33bf48f67', 'wat_019ab699c4907000b16e33116b9ece34'),
	('msg_019ab699c4907000a18f99e166613df8', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c49070008f4a1c7d29acc705', 'wat_019ab699c49070008ce31edf1fa81940'),
	('msg_019ab699c49070008e4812440bbbc847', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c4907000ba12918f6d9c5c62', 'wat_019ab699c49070009744411f66be9686'),
	('msg_019ab699c4907000914fbae211e277eb', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c4907000b9272b13bab0993f', 'wat_019ab699c490700090c2825a3037429d'),
	('msg_019ab699c4907000ab6e45d57b2afb6b', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c4907000a4bce4bd2e7de325', 'wat_019ab699c49070008d8173366a12567e'),
	('msg_019ab699c490700091f0d39c398fe731', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c4907000a4bce4bd2e7de325', 'wat_019ab699c49070008e256c002a54247e'),
	('msg_019ab699c4907000a311ae70f7441960', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab699c4907000a4bce4bd2e7de325', 'wat_019ab699c4907000b652221527982219'),
	('msg_019ab699c87870008973d09792fd96f6', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab697e8007000ba2e0ecc064ffa32', NULL);
INSERT INTO public.endpoints VALUES
	('ep_019ab697e8007000ba2e0ecc064ffa32', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://own.example/hook', '025695262a13903ec943486532d85c46b10f5889d1ea62a77d881cf407f60b1a', NULL, '9dd5b77d:oWAsJyYtMcxosv4RkZsC6z3ppOTqnEULTAVqqChQfNlcxF+h0NE9HyWhHcL8QrUebYQtAyTlhYc=', 'active', NULL, 10, NULL, NULL, 0, 0, 2, 0, NULL, NULL, 0, 0, NULL, NULL, 1, NULL, NULL, 1764000000000000, NULL, NULL),
	('ep_019ab699c49070008f4a1c7d29acc705', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://gone.example/hook', '343742e90fa43bdfa63254082d75b0f5b78fb81106403056fd61c7e1a9bb0795', NULL, NULL, 'disabled', 'gone', 10, NULL, NULL, 0, 0, 2, 0, NULL, NULL, 0, 0, NULL, 1764000122000000, 0, 1764000122000000, NULL, 1764000122000000, NULL, NULL),
	('ep_019ab698d64870008d73e00f8b8b2e40', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://done.example/hook', '8d1f3f9233ccd7927f783dccec3bc4e665c20e292fa007ab2debad982301df8e', NULL, NULL, 'active', NULL, 10, NULL, NULL, 0, 1, 3, 0, NULL, NULL, 0, 0, NULL, NULL, 0, NULL, NULL, 1764000061000000, NULL, NULL),
	('ep_019ab697e8007000a0b8ba81c7be498b', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://example.com/hook', '19f1352238b915338c91b6a9fdd2dd4be99a13c18e95bbfbf1443ee01fb616b6', NULL, NULL, 'active', NULL, 10, NULL, NULL, 0, 1, 5, 0, NULL, NULL, 0, 0, NULL, NULL, 0, NULL, NULL, 1764000000000000, NULL, NULL),
	('ep_019ab698d6487000b690ce7e85e3e261', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://lost.example/hook', '87ca69fd196bf4397759f331d1d6e2f31d8b9e87bbf131f1890016b6b9a86997', NULL, NULL, 'active', NULL, 10, NULL, 1764000182000000, 0, 0, 2, 0, NULL, NULL, 0, 0, NULL, NULL, 0, NULL, NULL, 1764000061000000, NULL, NULL),
	('ep_019ab699c4907000894fe3f284607b73', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://pending.example/hook', 'c28fe1bba26fb34b5bc839e5e831af8354ee82b3b759f179d884323b5484aaff', NULL, NULL, 'active', NULL, 10, NULL, 1764000122000000, 0, 0, 2, 0, NULL, NULL, 0, 0, NULL, NULL, 0, NULL, NULL, 1764000122000000, NULL, NULL),
	('ep_019ab699c490700095b587a33bf48f67', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://paused.example/hook', 'b82e443e6a9af761825b11a4ddbdb0ebb2d5753a7c8976e0af650e345becb814', NULL, NULL, 'paused', NULL, 10, NULL, NULL, 0, 0, 2, 0, NULL, NULL, 0, 0, NULL, 1764000122000000, 0, NULL, NULL, 1764000122000000, NULL, NULL),
	('ep_019ab699c4907000ba12918f6d9c5c62', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://open.example/hook', '394a7e0164ae7ad3ace82c632d55cd8c979452fc17372a878e41f77df7b98052', NULL, NULL, 'active', NULL, 10, NULL, 1764000132000000, 0, 0, 1, 10, 1764000122000000, 1764000122000000, 1764000132000000, 1, NULL, NULL, 0, NULL, '500', 1764000122000000, NULL, 1764000122000000),
	('ep_019ab699c4907000b9272b13bab0993f', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://deleted.example/hook', NULL, NULL, NULL, 'disabled', NULL, 10, NULL, NULL, 0, 0, 2, 0, NULL, NULL, 0, 0, NULL, 1764000122000000, 0, NULL, NULL, 1764000122000000, 1764000122000000, NULL),
	('ep_019ab699c4907000a4bce4bd2e7de325', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'https://failed.example/hook', '8df19a0eaf058fea11696ab878b203a9e68fa1e993affa13da98023ab6b865b6', NULL, NULL, 'active', NULL, 10, NULL, 1764000122000000, 0, 0, 2, 0, NULL, NULL, 0, 0, NULL, NULL, 0, NULL, NULL, 1764000122000000, NULL, NULL);
INSERT INTO public.idempotent_answers VALUES
	('838ba24b7e9cfe5d18319d0b823d2fb81c77e076f55a1f9c8c3b9649e0313040', '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a', 201, 0, '{"id": "wat_former"}', 1764000123000000);
INSERT INTO public.job_types VALUES
	('default', 'AIVideoTag', '[12.5, 20.0]');
INSERT INTO public.jobs VALUES
	(1, 'default', 'former-expired', 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000000000000, NULL),
	(2, 'default', 'former-cancelled', 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000061000000, NULL),
	(3, 'default', 'former-failed', 'fail', 'AIMediaDNA', 'Some.Code', 'why', NULL, NULL, NULL, '{"VideoDNA":[]}', 15, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000061000000, 1764000061000000),
	(4, 'default', 'former-missing', 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000061000000, NULL),
	(5, 'default', 'f937db95dfbc45f04bd95e654c95fb15', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000061000000, 1764000061000000),
	(6, 'default', '7ab300003d0350cc4e2ce866a44a84d8', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000061000000, 1764000061000000),
	(7, 'default', '5bcaa96a84e8a936bce3e7075ea64d43', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(8, 'default', 'd1bd10e5a0226c60f5f0ada39f2b0fb9', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(9, 'default', '79c91d569d002c0c5b513fa26e627004', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(10, 'default', 'd064440532ce2e84d8cb26099cae2987', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(11, 'default', '09b3c7072ddb4874f5bbcb888a84033a', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(12, 'default', '831a001974e482be1760a351c7ff74fe', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(13, 'default', 'former-deleted', 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, NULL),
	(16, 'default', 'ab6d7e6fdfda4144e9880f651e95b2dd', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(15, 'default', '97d962468a3f3901bb3bc1f79506ddf0', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(14, 'default', '12794d0a065d35ecd23d9c8efc3f5037', 'success', 'AIVideoTag', '0', 'OK', NULL, NULL, NULL, '{"a":1}', 7, 1, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, 1764000122000000, 1764000122000000),
	(17, 'default', 'former-waiting', 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 'sub_019ab697e8007000a6c65c5cb50daf3f', 1764000183000000, 'tttttttttttttttttttttttttttttttt', 1, 0, 0, 1764000123000000, NULL, NULL, 1764000123000000, NULL),
	(18, 'default', 'former-claimed', 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 'sub_019ab697e8007000a6c65c5cb50daf3f', 1764000183000000, 'tttttttttttttttttttttttttttttttt', 1, 0, 0, 1764000123000000, NULL, NULL, 1764000123000000, NULL),
	(19, 'default', 'former-hinted', 'open', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 'sub_019ab697e8007000a6c65c5cb50daf3f', 1764000123000000, NULL, 0, 0, 0, NULL, 1764000123000000, 0, 1764000123000000, NULL);
INSERT INTO public.poll_policies VALUES
	('default', 1764000123000000, 19, 0, '{}');
INSERT INTO public.signing_secrets VALUES
	('sec_019ab697e8007000a0641a98dba030b7', 'sub_019ab697e8007000a6c65c5cb50daf3f', NULL, '9dd5b77d:Y7i8fd0B4GZ42ByZOc+Z3KrF0a2oMuPCDeIRPkCFoVyOz2694+PK2EGtNsdN7rYPCR2ks/XO+koUkbKCdmwGvV6yHq9cDareWw8lAQJf', 1764000000000000, NULL),
	('sec_019ab697e80070009886229e149e867f', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab697e8007000ba2e0ecc064ffa32', '9dd5b77d:Y7bC1db+YWeepWTH4bT9OF+6W2Yc50R4oRZawmO9vo1VGzjjjiwluNgh/AzY2U6RviXoFMSwSXB6JtqMZeKpniU7PCW9TlPwH+A741DY', 1764000000000000, 1766592000000000),
	('sec_019ab697e80070009817172cb86fb8c8', 'sub_019ab697e8007000a6c65c5cb50daf3f', 'ep_019ab697e8007000ba2e0ecc064ffa32', '9dd5b77d:kK6RdnzKa2x8NCNRwEGenSXt8ogpKKT1M+CqgW8HStdQ4o2D1iajfPsI9LM/mor2wcIE6R9ZWLGkEMFwuGeU86ZATx+ydYoKKitM+QBR', 1764000000000000, NULL);
INSERT INTO public.subscribers VALUES
	('sub_019ab697e8007000ab3a377ac5cdd243', 'sub_019ab697e8007000ab3a377ac5cdd243', 1764000000000000, NULL),
	('sub_019ab697e8007000a6c65c5cb50daf3f', 'former', 1764000000000000, NULL);
INSERT INTO public.upstreams VALUES
	('default', 1764000123075000, 1, 0, '', 0, 0, NULL, NULL, NULL, NULL);
INSERT INTO public.watches VALUES
	('wat_019ab697e80070009e6adf1af2544e24', 'sub_019ab697e8007000a6c65c5cb50daf3f', 1, 'ep_019ab697e8007000a0b8ba81c7be498b', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'expired', NULL, 0, 1764000000000000, 1764000060000000, NULL, 1764000061000000),
	('wat_019ab698d6487000a6e24462451e2150', 'sub_019ab697e8007000a6c65c5cb50daf3f', 2, 'ep_019ab697e8007000a0b8ba81c7be498b', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'cancelled', NULL, 0, 1764000061000000, 1764086461000000, NULL, 1764000061000000),
	('wat_019ab698d6487000b29a60e3920095da', 'sub_019ab697e8007000a6c65c5cb50daf3f', 3, 'ep_019ab697e8007000a0b8ba81c7be498b', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'fail', NULL, 0, 1764000061000000, 1764086461000000, NULL, 1764000061000000),
	('wat_019ab698d6487000a1ffee37343bf7bd', 'sub_019ab697e8007000a6c65c5cb50daf3f', 4, 'ep_019ab697e8007000a0b8ba81c7be498b', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'missing', NULL, 0, 1764000061000000, 1764086461000000, NULL, 1764000061000000),
	('wat_019ab698d6487000b7b05403000f7f7e', 'sub_019ab697e8007000a6c65c5cb50daf3f', 5, 'ep_019ab698d64870008d73e00f8b8b2e40', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000061000000, 1764086461000000, NULL, 1764000061000000),
	('wat_019ab698d648700095f239bb395602bd', 'sub_019ab697e8007000a6c65c5cb50daf3f', 6, 'ep_019ab698d6487000b690ce7e85e3e261', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000061000000, 1764086461000000, NULL, 1764000061000000),
	('wat_019ab699c49070009eb60f817a998ea6', 'sub_019ab697e8007000a6c65c5cb50daf3f', 7, 'ep_019ab699c4907000894fe3f284607b73', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c4907000b6418d6459fb5301', 'sub_019ab697e8007000a6c65c5cb50daf3f', 8, 'ep_019ab699c4907000894fe3f284607b73', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c4907000b16e33116b9ece34', 'sub_019ab697e8007000a6c65c5cb50daf3f', 9, 'ep_019ab699c490700095b587a33bf48f67', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c49070008ce31edf1fa81940', 'sub_019ab697e8007000a6c65c5cb50daf3f', 10, 'ep_019ab699c49070008f4a1c7d29acc705', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c49070009744411f66be9686', 'sub_019ab697e8007000a6c65c5cb50daf3f', 11, 'ep_019ab699c4907000ba12918f6d9c5c62', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c490700090c2825a3037429d', 'sub_019ab697e8007000a6c65c5cb50daf3f', 12, 'ep_019ab699c4907000b9272b13bab0993f', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c49070008f3b67f76e29144d', 'sub_019ab697e8007000a6c65c5cb50daf3f', 13, 'ep_019ab699c4907000b9272b13bab0993f', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'cancelled', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c49070008d8173366a12567e', 'sub_019ab697e8007000a6c65c5cb50daf3f', 16, 'ep_019ab699c4907000a4bce4bd2e7de325', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c49070008e256c002a54247e', 'sub_019ab697e8007000a6c65c5cb50daf3f', 15, 'ep_019ab699c4907000a4bce4bd2e7de325', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c4907000b652221527982219', 'sub_019ab697e8007000a6c65c5cb50daf3f', 14, 'ep_019ab699c4907000a4bce4bd2e7de325', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'success', NULL, 0, 1764000122000000, 1764086522000000, NULL, 1764000122000000),
	('wat_019ab699c8787000a26e66fc7fb59f28', 'sub_019ab697e8007000a6c65c5cb50daf3f', 17, 'ep_019ab697e8007000a0b8ba81c7be498b', 'site=eu', 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{"n": 1}', 'waiting', '4480cebe69aa6ed763f4e09dc02706e07c3717200512e5448a6a4fadda3bbb68', 0, 1764000123000000, 1764086523000000, 1764086523000000, NULL),
	('wat_019ab699c8787000a04b7a84ac9a869e', 'sub_019ab697e8007000a6c65c5cb50daf3f', 18, 'ep_019ab697e8007000a0b8ba81c7be498b', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'waiting', 'd116386e4f26cde36ca55979be706ee672e4e35d4948fc7b5c0747f90a1d68c0', 0, 1764000123000000, 1764086523000000, 1764086523000000, NULL),
	('wat_019ab699c8787000b1f16143ed91cceb', 'sub_019ab697e8007000a6c65c5cb50daf3f', 19, 'ep_019ab697e8007000a0b8ba81c7be498b', NULL, 'ai_job.success,ai_job.fail,ai_job.missing,watch.expired', '{}', 'waiting', 'cc964991ab1ae2796223cda474cd1abe292f4a4f10709ef2781770225bcb020a', 0, 1764000123000000, 1764086523000000, 1764086523000000, NULL);
SELECT pg_catalog.setval('public.jobs_id_seq', 19, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (id);
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT pk_attempts PRIMARY KEY (delivery_id, number);
ALTER TABLE ONLY public.bulk_retries
    ADD CONSTRAINT pk_bulk_retries PRIMARY KEY (id);
ALTER TABLE ONLY public.counters
    ADD CONSTRAINT pk_counters PRIMARY KEY (name, label);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT pk_deliveries PRIMARY KEY (id);
ALTER TABLE ONLY public.delivery_listings
    ADD CONSTRAINT pk_delivery_listings PRIMARY KEY (delivery_id);
ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT pk_endpoints PRIMARY KEY (id);
ALTER TABLE ONLY public.idempotent_answers
    ADD CONSTRAINT pk_idempotent_answers PRIMARY KEY (key);
ALTER TABLE ONLY public.job_types
    ADD CONSTRAINT pk_job_types PRIMARY KEY (source, name);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT pk_jobs PRIMARY KEY (id);
ALTER TABLE ONLY public.poll_policies
    ADD CONSTRAINT pk_poll_policies PRIMARY KEY (source);
ALTER TABLE ONLY public.signing_secrets
    ADD CONSTRAINT pk_signing_secrets PRIMARY KEY (id);
ALTER TABLE ONLY public.subscribers
    ADD CONSTRAINT pk_subscribers PRIMARY KEY (id);
ALTER TABLE ONLY public.upstreams
    ADD CONSTRAINT pk_upstreams PRIMARY KEY (source);
ALTER TABLE ONLY public.watches
    ADD CONSTRAINT pk_watches PRIMARY KEY (id);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT uq_api_keys_sha256 UNIQUE (sha256);
ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT uq_endpoints_subscriber_id_url_key UNIQUE (subscriber_id, url_key);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT uq_jobs_source_job_id UNIQUE (source, job_id);
ALTER TABLE ONLY public.subscribers
    ADD CONSTRAINT uq_subscribers_name UNIQUE (name);
ALTER TABLE ONLY public.watches
    ADD CONSTRAINT uq_watches_waiting_key UNIQUE (waiting_key);
CREATE INDEX ix_api_keys_subscriber_id ON public.api_keys USING btree (subscriber_id);
CREATE INDEX ix_bulk_retries_due ON public.bulk_retries USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX ix_bulk_retries_subscriber_id ON public.bulk_retries USING btree (subscriber_id);
CREATE INDEX ix_deliveries_claimed ON public.deliveries USING btree (endpoint_id, token) WHERE (token IS NOT NULL);
CREATE INDEX ix_deliveries_due ON public.deliveries USING btree (endpoint_id, due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX ix_deliveries_solo ON public.deliveries USING btree (solo_at) WHERE (solo_at IS NOT NULL);
CREATE INDEX ix_delivery_listings_endpoint ON public.delivery_listings USING btree (endpoint_id, delivery_id);
CREATE INDEX ix_delivery_listings_subscriber ON public.delivery_listings USING btree (subscriber_id, delivery_id);
CREATE INDEX ix_delivery_listings_watch ON public.delivery_listings USING btree (watch_id, delivery_id) WHERE (watch_id IS NOT NULL);
CREATE INDEX ix_endpoints_held ON public.endpoints USING btree (held_at) WHERE (held_at IS NOT NULL);
CREATE INDEX ix_endpoints_list ON public.endpoints USING btree (subscriber_id, id);
CREATE INDEX ix_endpoints_notice ON public.endpoints USING btree (notice_at) WHERE (notice_at IS NOT NULL);
CREATE INDEX ix_endpoints_ready ON public.endpoints USING btree (proven, ready_at) WHERE (ready_at IS NOT NULL);
CREATE INDEX ix_endpoints_turn ON public.endpoints USING btree (subscriber_id, proven, ready_at) WHERE (ready_at IS NOT NULL);
CREATE INDEX ix_idempotent_answers_created_at ON public.idempotent_answers USING btree (created_at);
CREATE INDEX ix_jobs_due ON public.jobs USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX ix_jobs_hinted ON public.jobs USING btree (hinted_at) WHERE (hinted_at IS NOT NULL);
CREATE INDEX ix_jobs_owner ON public.jobs USING btree (owner, due_at) WHERE (owner IS NOT NULL);
CREATE INDEX ix_signing_secrets_endpoint_id ON public.signing_secrets USING btree (endpoint_id);
CREATE INDEX ix_signing_secrets_subscriber_id ON public.signing_secrets USING btree (subscriber_id);
CREATE INDEX ix_watches_due ON public.watches USING btree (due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX ix_watches_endpoint ON public.watches USING btree (endpoint_id, id);
CREATE INDEX ix_watches_job ON public.watches USING btree (job, due_at);
CREATE INDEX ix_watches_list ON public.watches USING btree (subscriber_id, id);
CREATE INDEX ix_watches_waiting ON public.watches USING btree (subscriber_id, due_at) WHERE (due_at IS NOT NULL);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT fk_api_keys_subscriber_id FOREIGN KEY (subscriber_id) REFERENCES public.subscribers(id);
ALTER TABLE ONLY public.bulk_retries
    ADD CONSTRAINT fk_bulk_retries_subscriber_id FOREIGN KEY (subscriber_id) REFERENCES public.subscribers(id);
ALTER TABLE ONLY public.delivery_listings
    ADD CONSTRAINT fk_delivery_listings_delivery_id FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.delivery_listings
    ADD CONSTRAINT fk_delivery_listings_endpoint_id FOREIGN KEY (endpoint_id) REFERENCES public.endpoints(id);
ALTER TABLE ONLY public.delivery_listings
    ADD CONSTRAINT fk_delivery_listings_subscriber_id FOREIGN KEY (subscriber_id) REFERENCES public.subscribers(id);
ALTER TABLE ONLY public.delivery_listings
    ADD CONSTRAINT fk_delivery_listings_watch_id FOREIGN KEY (watch_id) REFERENCES public.watches(id);
ALTER TABLE ONLY public.endpoints
    ADD CONSTRAINT fk_endpoints_subscriber_id FOREIGN KEY (subscriber_id) REFERENCES public.subscribers(id);
ALTER TABLE ONLY public.signing_secrets
    ADD CONSTRAINT fk_signing_secrets_endpoint_id FOREIGN KEY (endpoint_id) REFERENCES public.endpoints(id);
ALTER TABLE ONLY public.signing_secrets
    ADD CONSTRAINT fk_signing_secrets_subscriber_id FOREIGN KEY (subscriber_id) REFERENCES public.subscribers(id);
ALTER TABLE ONLY public.watches
    ADD CONSTRAINT fk_watches_endpoint_id FOREIGN KEY (endpoint_id) REFERENCES public.endpoints(id);
ALTER TABLE ONLY public.watches
    ADD CONSTRAINT fk_watches_job FOREIGN KEY (job) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.watches
    ADD CONSTRAINT fk_watches_subscriber_id FOREIGN KEY (subscriber_id) REFERENCES public.subscribers(id);
