"""Example bodies of Axiom's documents that several tests send, as printed."""

GROUPED_OLD = """\
[
        {
          "time":"2021-23-04302:11:23.222Z",
          "data":{"key1":"value1","key2":"value2"}
        },
        {
          "data":{"key3":"value3"},
          "labels":{"key4":"value4"}
        }
      ]"""

LABELS = """\
[
  {
    "labels": {
      "author": "System1",
      "model": "whip.log"
    },
    "events": [
      {
        "timestamp": "2020-05-04T11:00:00+06:00",
        "elements": {
          "foo": "bar"
        }
      },
      {
        "timestamp": "2020-05-04T12:00:01+03:00",
        "attributes": {
          "status": "202",
          "address": "/src.php"
        }
      }
    ]
  },
  {
    "labels": {
      "author": "System2",
      "model": "whip.log"
    },
    "events": [
      {
        "timestamp": "2020-05-04T13:00:02+02:00",
        "attributes": {
          "key2": "value2"
        }
      }
    ]
  },
  {
    "labels": {
      "author": "System3",
      "model": "whip.log"
    },
    "events": [
      {
        "timestamp": "2020-05-04T14:00:03+02:00",
        "attributes": {
          "key3": "value3",
          "status": "200"
        }
      }
    ]
  }
]"""

GROUPED = """\
[
        {
          "time":"2025-01-12T00:00:00.000Z",
          "data":{"key1":"value1","key2":"value2"}
        },
        {
          "data":{"key3":"value3"},
          "labels":{"key4":"value4"}
        }
      ]"""

NESTED_ARRAYS = """\
[
            {
            "axiom": [{
                "logging":[{
                    "observability":[{
                        "location":[{
                            "credentials":[{
                                "datasets":[{
                                    "first_name":"axiom",
                                    "last_name":"logging",
                                    "location":"global"
                                }],
                                "work":[{
                                    "details":"https://app.axiom.co/",
                                    "tutorials":"https://www.axiom.co/blog",
                                    "changelog":"https://www.axiom.co/changelog",
                                    "documentation": "https://www.axiom.co/docs"
                                }]
                            }],
                            "social_media":[{
                                "details":[{
                                    "twitter":"https://twitter.com/AxiomFM",
                                    "linkedin":"https://linkedin.com/company/axiomhq",
                                    "github":"https://github.com/axiomhq"
                                }],
                                "features":[{
                                    "datasets":"view logs",
                                    "stream":"live_tail",
                                    "explorer":"queries"
                                }]
                            }]
                        }]
                    }],
                    "logs":[{
                        "apl": "functions"
                    }]
                }],
                "storage":[{}]
            }]}
        ]"""
