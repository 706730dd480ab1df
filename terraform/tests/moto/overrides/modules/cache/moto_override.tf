resource "aws_elasticache_parameter_group" "this" {
  count = 0
}

resource "aws_elasticache_replication_group" "this" {
  parameter_group_name = "default.redis7"
}
