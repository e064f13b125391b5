SET 'execution.runtime-mode' = 'streaming';
SET 'table.local-time-zone' = 'UTC';
CREATE TABLE flights (
  sched_dep TIMESTAMP(3), actual_dep TIMESTAMP(3), carrier STRING, flight INT, tailnum STRING,
  origin STRING, dest STRING, dep_delay_min INT, arr_delay_min INT, air_time_min INT, distance_mi INT,
  WATERMARK FOR sched_dep AS sched_dep - INTERVAL '1' DAY
) WITH ('connector' = 'filesystem', 'path' = 'file://${IN}/flights', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE weather (
  time_hour TIMESTAMP(3), origin STRING, temp_f DOUBLE, humidity_pct DOUBLE, wind_speed_mph DOUBLE, precip_in DOUBLE, visibility_mi DOUBLE,
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH ('connector' = 'filesystem', 'path' = 'file://${IN}/weather', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE airlines (carrier STRING, name STRING) WITH ('connector' = 'filesystem', 'path' = 'file://${IN}/airlines', 'format' = 'csv');
