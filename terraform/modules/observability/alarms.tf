# What wakes somebody, as a table. Each row is an alarm and a graph of the dashboard with the same line in it.
#
# These watch what AWS runs; what the services do is watched by Prometheus.

locals {
  gib = 1024 * 1024 * 1024

  alarms = merge(
    {
      "database-cpu" = {
        about      = "the database's processor is at its limit", namespace = "AWS/RDS", metric = "CPUUtilization", statistic = "Average"
        dimensions = { DBInstanceIdentifier = var.databases.primary }, compare = ">", threshold = 80, minutes = 15
      }
      "database-disk" = {
        about      = "the database's disk fills faster than it grows", namespace = "AWS/RDS", metric = "FreeStorageSpace", statistic = "Minimum"
        dimensions = { DBInstanceIdentifier = var.databases.primary }, compare = "<", threshold = var.databases.free_gib_min * local.gib, minutes = 15
      }
      "database-memory" = {
        about      = "the database is about to swap", namespace = "AWS/RDS", metric = "FreeableMemory", statistic = "Minimum"
        dimensions = { DBInstanceIdentifier = var.databases.primary }, compare = "<", threshold = 0.25 * local.gib, minutes = 15
      }
      "database-queue" = {
        about      = "writes wait for the disk", namespace = "AWS/RDS", metric = "DiskQueueDepth", statistic = "Average"
        dimensions = { DBInstanceIdentifier = var.databases.primary }, compare = ">", threshold = 32, minutes = 10
      }
      "search-red" = {
        about      = "a primary shard is missing: part of what is searched for is not found", namespace = "AWS/ES", metric = "ClusterStatus.red", statistic = "Maximum"
        dimensions = { DomainName = var.search_domain, ClientId = data.aws_caller_identity.current.account_id }, compare = ">", threshold = 0, minutes = 5
      }
      "search-disk" = {
        about      = "the search domain stops taking writes when its disk is full (MiB)", namespace = "AWS/ES", metric = "FreeStorageSpace", statistic = "Minimum"
        dimensions = { DomainName = var.search_domain, ClientId = data.aws_caller_identity.current.account_id }, compare = "<", threshold = 4096, minutes = 15
      }
      "edge-errors" = {
        about      = "the services answer with errors", namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", statistic = "Sum"
        dimensions = { LoadBalancer = var.load_balancer.suffix }, compare = ">", threshold = 25, minutes = 5
      }
      "edge-unreachable" = {
        about      = "the load balancer answers itself: it has nobody to ask", namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", statistic = "Sum"
        dimensions = { LoadBalancer = var.load_balancer.suffix }, compare = ">", threshold = 10, minutes = 5
      }
      "edge-unhealthy" = {
        about      = "a gateway is not ready", namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", statistic = "Maximum"
        dimensions = { LoadBalancer = var.load_balancer.suffix, TargetGroup = var.load_balancer.target_group_suffix }
        compare    = ">", threshold = 0, minutes = 10
      }
      "edge-slow" = {
        about      = "one request in a hundred takes longer than two seconds", namespace = "AWS/ApplicationELB", metric = "TargetResponseTime", statistic = "p99"
        dimensions = { LoadBalancer = var.load_balancer.suffix }, compare = ">", threshold = 2, minutes = 10
      }
      "api-errors" = {
        about      = "the API answers with errors", namespace = "AWS/ApiGateway", metric = "5xx", statistic = "Sum"
        dimensions = { ApiId = var.api_id }, compare = ">", threshold = 25, minutes = 5
      }
      "nodes-failed" = {
        about      = "a node of the cluster is in a bad state", namespace = "ContainerInsights", metric = "cluster_failed_node_count", statistic = "Maximum"
        dimensions = { ClusterName = var.cluster_name }, compare = ">", threshold = 0, minutes = 10
      }
      "mail-bounces" = {
        about      = "SES stops an account that bounces at 10 %", namespace = "AWS/SES", metric = "Reputation.BounceRate", statistic = "Average"
        dimensions = {}, compare = ">", threshold = 0.05, minutes = 60
      }
      "mail-complaints" = {
        about      = "SES stops an account at 0.5 % complaints", namespace = "AWS/SES", metric = "Reputation.ComplaintRate", statistic = "Average"
        dimensions = {}, compare = ">", threshold = 0.001, minutes = 60
      }
    },
    {
      for index, replica in var.databases.replicas : "database-lag-${index}" => {
        about      = "a replica is behind what is read from it", namespace = "AWS/RDS", metric = "ReplicaLag", statistic = "Maximum"
        dimensions = { DBInstanceIdentifier = replica }, compare = ">", threshold = 30, minutes = 10
      }
    },
    {
      for node in var.cache_nodes : "cache-processor-${node}" => {
        about      = "Redis works on one processor, and it is busy", namespace = "AWS/ElastiCache", metric = "EngineCPUUtilization", statistic = "Average"
        dimensions = { CacheClusterId = node }, compare = ">", threshold = 80, minutes = 10
      }
    },
    {
      for node in var.cache_nodes : "cache-memory-${node}" => {
        about      = "the cache evicts what is still wanted", namespace = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", statistic = "Average"
        dimensions = { CacheClusterId = node }, compare = ">", threshold = 90, minutes = 30
      }
    },
    var.events.backend != "msk" ? {} : {
      "events-disk" = {
        about      = "a broker's disk fills", namespace = "AWS/Kafka", metric = "KafkaDataLogsDiskUsed", statistic = "Maximum"
        dimensions = { "Cluster Name" = var.events.cluster }, compare = ">", threshold = 80, minutes = 15
      }
      "events-offline" = {
        about      = "partitions have no leader: events wait in the outboxes", namespace = "AWS/Kafka", metric = "OfflinePartitionsCount", statistic = "Maximum"
        dimensions = { "Cluster Name" = var.events.cluster }, compare = ">", threshold = 0, minutes = 5
      }
      "events-controller" = {
        about      = "there is not exactly one controller", namespace = "AWS/Kafka", metric = "ActiveControllerCount", statistic = "Maximum"
        dimensions = { "Cluster Name" = var.events.cluster }, compare = "<", threshold = 1, minutes = 10
      }
    },
    {
      for name, instance in var.events.instances : "events-disk-${name}" => {
        about      = "a broker's disk fills", namespace = "RTC/Kafka", metric = "disk_used_percent", statistic = "Maximum"
        dimensions = { InstanceId = instance }, compare = ">", threshold = 80, minutes = 15
      }
    },
    {
      for name, queue in var.queues : "${name}-dead-letters" => {
        about      = "a message failed every attempt", namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", statistic = "Maximum"
        dimensions = { QueueName = queue.dead_name }, compare = ">", threshold = 0, minutes = 5
      }
    },
    {
      for name, queue in var.queues : "${name}-age" => {
        about      = "nobody takes messages out (seconds)", namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", statistic = "Maximum"
        dimensions = { QueueName = queue.name }, compare = ">", threshold = 600, minutes = 10
      }
    },
    {
      for zone, gateway in var.nat_gateways : "nat-ports-${zone}" => {
        about      = "connections to one destination are refused for want of ports", namespace = "AWS/NATGateway", metric = "ErrorPortAllocation", statistic = "Sum"
        dimensions = { NatGatewayId = gateway }, compare = ">", threshold = 0, minutes = 5
      }
    },
    {
      for name, instance in var.machines : "machine-${name}" => {
        about      = "a machine fails its status checks", namespace = "AWS/EC2", metric = "StatusCheckFailed", statistic = "Maximum"
        dimensions = { InstanceId = instance }, compare = ">", threshold = 0, minutes = 5
      }
    },
  )

  operators = { ">" = "GreaterThanThreshold", "<" = "LessThanThreshold" }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.about
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = local.operators[each.value.compare]
  threshold           = each.value.threshold
  period              = 300
  evaluation_periods  = each.value.minutes / 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, key in sort(keys(local.alarms)) : {
        type   = "metric"
        x      = (index % 3) * 8
        y      = floor(index / 3) * 6
        width  = 8
        height = 6
        properties = {
          title  = key
          region = data.aws_region.current.name
          view   = "timeSeries"
          stat   = local.alarms[key].statistic
          period = 300
          metrics = [concat(
            [local.alarms[key].namespace, local.alarms[key].metric],
            flatten([for dimension, value in local.alarms[key].dimensions : [dimension, value]]),
          )]
          annotations = { horizontal = [{ label = local.alarms[key].about, value = local.alarms[key].threshold }] }
        }
      }
    ]
  })
}
