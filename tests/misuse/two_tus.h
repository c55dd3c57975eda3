ASYNC_DECLARE(doubled, (int n; int64_t ms;));
ASYNC_DECLARE(doubled_by_two, (int n; int64_t ms;));
